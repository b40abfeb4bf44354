//! What can be set about the releases.

use protocol::releases::NAME_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Wayne's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of the release that is to be live from the start on; empty leaves it to the orders.
    pub live: String,
}

impl Config {
    /// Fields that make no sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let is_long = self.live.len() > NAME_BYTES_MAX;
        is_long.then(|| ("live", format!("no release has a name of more than {NAME_BYTES_MAX} bytes"))).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_a_name_that_no_release_can_have_is_none() {
        assert_eq!(Config::default().problems(), []);
        assert_eq!(Config { live: "x".repeat(49) }.problems().len(), 1);
    }
}
