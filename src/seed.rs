//! Random numbers that depend on what they are for, never on when they are drawn.

use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use sha2::{Digest, Sha256};

/// A family of independent random streams, one for each key.
///
/// Work that is reordered, sharded or resumed draws the same numbers, because each piece asks for the
/// stream of its own key (a triplet id, a concept, a restart) instead of the next number of a shared generator.
#[derive(Debug, Clone)]
pub struct Streams {
    key: [u8; 32],
}

impl Streams {
    /// The streams that `seed` gives for one `purpose` ("order", "holdout", ...); other purposes get unrelated ones.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(purpose.as_bytes());
        Self { key: hash.finalize().into() }
    }

    /// The generator of one key.
    pub fn rng(&self, key: u64) -> ChaCha12Rng {
        let mut rng = ChaCha12Rng::from_seed(self.key);
        rng.set_stream(key);
        rng
    }
}

/// The key of one presentation: all of its randomness comes from the streams of this key.
///
/// Triplet ids use at most 46 bits (10,000 concepts need 39), orders one, repeats the lowest 16.
pub fn judgment_key(triplet_id: i64, order: i8, repeat: u16) -> u64 {
    (triplet_id.cast_unsigned() << 17) | (u64::from(order.cast_unsigned() & 1) << 16) | u64::from(repeat)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn streams_depend_on_seed_purpose_and_key_only() {
        let draw = |seed, purpose, key| Streams::new(seed, purpose).rng(key).random::<u64>();
        assert_eq!(draw(1, "order", 7), draw(1, "order", 7));
        assert_ne!(draw(1, "order", 7), draw(2, "order", 7));
        assert_ne!(draw(1, "order", 7), draw(1, "holdout", 7));
        assert_ne!(draw(1, "order", 7), draw(1, "order", 8));
    }
}
