//! Rectangles whose areas are in proportion to numbers, as square as can be.
//!
//! Method: Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000). Numbers are laid in rows along the shorter side; a row
//! takes the next number as long as that makes its worst rectangle squarer.

/// A rectangle; the origin is the upper left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Rectangle {
    fn area(&self) -> f64 {
        self.width * self.height
    }
}

/// One rectangle per number, in the order given, which should be from the largest to the smallest. Together they fill
/// `whole`; numbers that are not above zero get no area.
pub fn layout(numbers: &[f64], whole: Rectangle) -> Vec<Rectangle> {
    let positive = |number: f64| if number.is_finite() { number.max(0.0) } else { 0.0 };
    let total: f64 = numbers.iter().copied().map(positive).sum();
    if total <= 0.0 || whole.area() <= 0.0 {
        return vec![Rectangle { width: 0.0, height: 0.0, ..whole }; numbers.len()];
    }
    let areas: Vec<f64> = numbers.iter().map(|&number| positive(number) / total * whole.area()).collect();
    let mut rectangles = Vec::with_capacity(areas.len());
    let mut left = whole;
    let mut rest = areas.as_slice();
    while !rest.is_empty() {
        let side = left.width.min(left.height);
        let mut count = 1;
        while count < rest.len() && worst(&rest[..=count], side) <= worst(&rest[..count], side) {
            count += 1;
        }
        let (row, after) = rest.split_at(count);
        left = lay(row, left, after.is_empty(), &mut rectangles);
        rest = after;
    }
    rectangles
}

/// The largest ratio of sides in a row along a side of this length.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let thickness = sum / side;
    let ratio = |area: &f64| {
        let length = area / thickness;
        (length / thickness).max(thickness / length)
    };
    row.iter().map(ratio).fold(0.0, f64::max)
}

/// Lays a row along the shorter side, and returns what is left of the rectangle; the last row takes all of it.
fn lay(row: &[f64], left: Rectangle, is_last: bool, rectangles: &mut Vec<Rectangle>) -> Rectangle {
    let sum: f64 = row.iter().sum();
    let is_upright = left.width >= left.height;
    let (side, other) = if is_upright { (left.height, left.width) } else { (left.width, left.height) };
    let thickness = if is_last { other } else { (sum / side).min(other) };
    let thickness = if thickness.is_finite() { thickness } else { 0.0 };
    let mut position = 0.0;
    for area in row {
        let length = if sum > 0.0 { side * area / sum } else { 0.0 };
        rectangles.push(match is_upright {
            true => Rectangle { x: left.x, y: left.y + position, width: thickness, height: length },
            false => Rectangle { x: left.x + position, y: left.y, width: length, height: thickness },
        });
        position += length;
    }
    match is_upright {
        true => Rectangle { x: left.x + thickness, width: left.width - thickness, ..left },
        false => Rectangle { y: left.y + thickness, height: left.height - thickness, ..left },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: Rectangle = Rectangle { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };

    #[test]
    fn the_papers_example_comes_out() {
        let rectangles = layout(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], WHOLE);
        let rounded: Vec<(f64, f64)> = rectangles
            .iter()
            .map(|one| ((one.width * 100.0).round() / 100.0, (one.height * 100.0).round() / 100.0))
            .collect();
        let expected = [(3.0, 2.0), (3.0, 2.0), (1.71, 2.33), (1.29, 2.33), (1.2, 1.67), (1.2, 1.67), (0.6, 1.67)];
        assert_eq!(rounded, expected);
    }

    proptest! {
        #[test]
        fn areas_are_in_proportion_and_nothing_overlaps(mut numbers in prop::collection::vec(0u32..10_000, 1..60)) {
            numbers.sort_unstable_by(|one, other| other.cmp(one));
            let numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
            let total: f64 = numbers.iter().sum();
            prop_assume!(total > 0.0);
            let rectangles = layout(&numbers, WHOLE);
            prop_assert_eq!(rectangles.len(), numbers.len());
            for (number, one) in numbers.iter().zip(&rectangles) {
                prop_assert!((one.area() - number / total * WHOLE.area()).abs() < 1e-6, "{one:?} for {number}");
                prop_assert!(one.x >= -1e-9 && one.y >= -1e-9);
                prop_assert!(one.x + one.width <= WHOLE.width + 1e-6 && one.y + one.height <= WHOLE.height + 1e-6);
            }
            for (index, one) in rectangles.iter().enumerate() {
                for other in &rectangles[..index] {
                    let across = (one.x + one.width).min(other.x + other.width) - one.x.max(other.x);
                    let down = (one.y + one.height).min(other.y + other.height) - one.y.max(other.y);
                    prop_assert!(across <= 1e-6 || down <= 1e-6, "{one:?} {other:?}");
                }
            }
        }
    }
}
