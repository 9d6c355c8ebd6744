//! Bearer tokens: how they are made and what is kept of them.

use sha2::{Digest, Sha256};

/// A new token, shown once and never stored. 256 bits from the system's random source, behind a prefix that secret scanners can know.
pub struct NewToken(String);

impl NewToken {
    /// Makes one.
    #[must_use]
    pub fn generate() -> Self {
        let secret: [u8; 32] = rand::random();
        Self(format!("tw_{}", hex::encode(secret)))
    }

    /// The token itself, to be shown to whoever asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewToken(…)")
    }
}

/// What is stored of a token. A plain hash is enough: the token is random, so there is nothing to guess.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_do_not_show_themselves() {
        let (one, two) = (NewToken::generate(), NewToken::generate());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(one.reveal().len(), 67);
        assert_eq!(one.hash(), hash(one.reveal()));
        assert!(!format!("{one:?}").contains(one.reveal()));
    }
}
