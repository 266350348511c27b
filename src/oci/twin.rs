//! The block function of sha256 for two hashes that take in the same blocks: of a whole, and of a part of it.
//!
//! One hash waits most of the time for its own last round (four cycles for two rounds on the processors that have
//! instructions for it), so a second one in between is nearly free, and what becomes of the blocks before the rounds is the
//! same for both. Measured with SHA extensions, two hashes take 1.2 times as long as one. Elsewhere they are made one after
//! the other. Source: FIPS 180-4, sections 4.2.2 and 6.2.2.

use sha2::block_api::compress256;

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// The working variables a to h, as they are between blocks.
pub(super) type State = [u32; 8];

/// Takes blocks into two states.
pub(super) fn compress(one: &mut State, other: &mut State, blocks: &[[u8; BLOCK]]) {
    #[cfg(target_arch = "x86_64")]
    if x86::compress(one, other, blocks) {
        return;
    }
    compress256(one, blocks);
    compress256(other, blocks);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_cvtsi128_si64, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
        _mm_unpackhi_epi64,
    };

    use super::{BLOCK, State};

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    #[rustfmt::skip]
    const ROUNDS: [u32; 64] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ];

    /// Whether this processor has what it takes; if not, nothing was done.
    #[allow(unsafe_code)]
    pub(super) fn compress(one: &mut State, other: &mut State, blocks: &[[u8; BLOCK]]) -> bool {
        let is_able = is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3");
        if is_able {
            // SAFETY: the processor has the features that the function is compiled for, which is all it asks for: it works
            // on values and on slices by safe operations.
            unsafe { with_extensions(one, other, blocks) };
        }
        is_able
    }

    #[target_feature(enable = "sha,ssse3")]
    fn with_extensions(one: &mut State, other: &mut State, blocks: &[[u8; BLOCK]]) {
        let (mut a, mut b) = (Halves::of(one), Halves::of(other));
        for block in blocks {
            let (before_a, before_b) = (a, b);
            let (words, _) = block.as_chunks::<16>();
            let mut schedule = [_mm_set_epi32(0, 0, 0, 0); 4];
            for (four, word) in schedule.iter_mut().zip(words) {
                *four = big_endian(word);
            }
            for (step, constants) in ROUNDS.as_chunks::<4>().0.iter().enumerate() {
                if step >= 4 {
                    let [first, second, third, last] = schedule;
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8::<4>(last, third));
                    schedule = [second, third, last, _mm_sha256msg2_epu32(sum, last)];
                }
                let words = schedule[step.min(3)];
                let first_two = _mm_add_epi32(words, four_words(*constants));
                let last_two = _mm_unpackhi_epi64(first_two, first_two);
                a.rounds(first_two, last_two);
                b.rounds(first_two, last_two);
            }
            a.add(before_a);
            b.add(before_b);
        }
        (*one, *other) = (a.state(), b.state());
    }

    /// A state as the instructions want it: the variables `f e b a` and `h g d c`, lowest first.
    #[derive(Clone, Copy)]
    struct Halves {
        abef: __m128i,
        cdgh: __m128i,
    }

    // The letters are the standard's.
    #[allow(clippy::many_single_char_names)]
    impl Halves {
        #[inline]
        #[target_feature(enable = "sha,ssse3")]
        fn of(&[a, b, c, d, e, f, g, h]: &State) -> Self {
            Self { abef: four_words([f, e, b, a]), cdgh: four_words([h, g, d, c]) }
        }

        #[inline]
        #[target_feature(enable = "sha,ssse3")]
        fn state(self) -> State {
            let [f, e, b, a] = words_of(self.abef);
            let [h, g, d, c] = words_of(self.cdgh);
            [a, b, c, d, e, f, g, h]
        }

        /// Four rounds. Two of them turn the older half into the newer one.
        #[inline]
        #[target_feature(enable = "sha,ssse3")]
        fn rounds(&mut self, first_two: __m128i, last_two: __m128i) {
            self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, first_two);
            self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, last_two);
        }

        #[inline]
        #[target_feature(enable = "sha,ssse3")]
        fn add(&mut self, before: Self) {
            self.abef = _mm_add_epi32(self.abef, before.abef);
            self.cdgh = _mm_add_epi32(self.cdgh, before.cdgh);
        }
    }

    /// Four words, lowest first.
    #[inline]
    #[target_feature(enable = "sha,ssse3")]
    fn four_words(words: [u32; 4]) -> __m128i {
        let [first, second, third, last] = words.map(u32::cast_signed);
        _mm_set_epi32(last, third, second, first)
    }

    #[inline]
    #[target_feature(enable = "sha,ssse3")]
    fn words_of(four: __m128i) -> [u32; 4] {
        let pair = |low: __m128i| _mm_cvtsi128_si64(low).cast_unsigned();
        let (low, high) = (pair(four), pair(_mm_shuffle_epi32::<0b00_00_11_10>(four)));
        [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
    }

    /// Four big-endian words of a block.
    #[inline]
    #[target_feature(enable = "sha,ssse3")]
    fn big_endian(bytes: &[u8; 16]) -> __m128i {
        let bits = u128::from_le_bytes(*bytes);
        let [low, high] = [bits as u64, (bits >> 64) as u64].map(u64::cast_signed);
        let reversed = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        _mm_shuffle_epi8(_mm_set_epi64x(high, low), reversed)
    }
}
