//! Random numbers from a seed that is printed, so that a run can be repeated.

use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A splitmix64 generator.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of this run: from `SEED` where it is set, else fresh. Prints the seed.
    pub fn of_this_run() -> Dice {
        let fresh = || RandomState::new().build_hasher().finish() >> 32;
        let seed = env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(fresh);
        eprintln!("SEED={seed}");
        Dice(seed)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Another generator, whose numbers this one decides.
    pub fn fork(&mut self) -> Dice {
        Dice(self.bits())
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// `length` random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.bits().to_le_bytes()[0]).collect()
    }
}

/// How many rounds a loop makes: ten times as many under `tests/run --long`.
pub fn rounds(usual: u64) -> u64 {
    if env::var("TESTS_LONG").as_deref() == Ok("1") { usual * 10 } else { usual }
}
