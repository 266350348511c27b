//! Seconds that sha256 and inflate of some wheels take, side by side on every processor: what no builder that looks at its
//! wheels can do without. `benches/compare.sh` runs it; `floor FILE...` prints one number.
//!
//! Reads zip archives that are known to be well-formed, so what does not look like one is a panic.

use std::io::Read;
use std::sync::Mutex;
use std::time::Instant;

use sha2::{Digest, Sha256};

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Compressed bytes of each deflated member.
fn members(archive: &[u8]) -> Vec<&[u8]> {
    let end = archive.windows(4).rposition(|window| window == b"PK\x05\x06").expect("the end of a zip archive");
    let (count, mut at) = (number(archive, end + 10, 2), number(archive, end + 16, 4));
    let mut members = Vec::new();
    for _ in 0..count {
        let (method, size, local) =
            (number(archive, at + 10, 2), number(archive, at + 20, 4), number(archive, at + 42, 4));
        let skip =
            |from: usize, fields: &[usize]| fields.iter().map(|field| number(archive, from + field, 2)).sum::<usize>();
        if method == 8 {
            let start = local + 30 + skip(local, &[26, 28]);
            members.push(&archive[start..start + size]);
        }
        at += 46 + skip(at, &[28, 30, 32]);
    }
    members
}

fn main() {
    let files: Vec<Vec<u8>> = std::env::args()
        .skip(1)
        .filter(|file| file != "--bench")
        .map(|file| std::fs::read(file).expect("a file"))
        .collect();
    enum Job<'a> {
        Hash(&'a [u8]),
        Inflate(&'a [u8]),
    }
    let started = Instant::now();
    let mut jobs: Vec<Job<'_>> = files.iter().map(|file| Job::Hash(file)).collect();
    jobs.extend(files.iter().flat_map(|file| members(file)).map(Job::Inflate));
    jobs.sort_by_key(|job| match job {
        Job::Hash(bytes) | Job::Inflate(bytes) => bytes.len(),
    });
    let jobs = Mutex::new(jobs);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut buffer = vec![0; 256 * 1024];
                // The largest first.
                while let Some(job) = { jobs.lock().expect("no panic").pop() } {
                    match job {
                        Job::Hash(bytes) => drop(std::hint::black_box(Sha256::digest(bytes))),
                        Job::Inflate(bytes) => {
                            let mut reader = flate2::read::DeflateDecoder::new(bytes);
                            while reader.read(&mut buffer).expect("deflated") > 0 {}
                        }
                    }
                }
            });
        }
    });
    println!("{:.2}", started.elapsed().as_secs_f64());
}
