//! Which addresses may be reached: a feed's author must not make this machine read from the network that it stands in.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network, in IPv6 terms: an IPv4 address stands as its v4-mapped form, so that both spellings are one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    bits: u128,
    prefix: u32,
}

const fn mapped(address: Ipv4Addr) -> u128 {
    address.to_ipv6_mapped().to_bits()
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => mapped(v4),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u32) -> Self {
        Self { bits: mapped(Ipv4Addr::new(a, b, c, d)), prefix: 96 + prefix }
    }

    const fn v6(a: u16, b: u16, c: u16, prefix: u32) -> Self {
        Self { bits: Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits(), prefix }
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let (offset, width) = if address.is_ipv4() { (96, 32) } else { (0, 128) };
        let prefix = prefix.map_or(Some(width), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= width))?;
        Some(Self { bits: bits(address), prefix: offset + prefix })
    }

    fn contains(self, address: u128) -> bool {
        (self.bits ^ address).checked_shr(128 - self.prefix).unwrap_or(0) == 0
    }
}

/// What is not the public internet (IANA special-purpose address registries, RFC 6890), multicast included.
const PRIVATE: [Network; 28] = [
    Network::v4(0, 0, 0, 0, 8),                      // this network, unspecified
    Network::v4(10, 0, 0, 0, 8),                     // private
    Network::v4(100, 64, 0, 0, 10),                  // carrier-grade NAT
    Network::v4(127, 0, 0, 0, 8),                    // loopback
    Network::v4(169, 254, 0, 0, 16),                 // link-local, cloud metadata
    Network::v4(172, 16, 0, 0, 12),                  // private
    Network::v4(192, 0, 0, 0, 24),                   // protocol assignments
    Network::v4(192, 0, 2, 0, 24),                   // documentation
    Network::v4(192, 88, 99, 0, 24),                 // 6to4 relays
    Network::v4(192, 168, 0, 0, 16),                 // private
    Network::v4(198, 18, 0, 0, 15),                  // benchmarks
    Network::v4(198, 51, 100, 0, 24),                // documentation
    Network::v4(203, 0, 113, 0, 24),                 // documentation
    Network::v4(224, 0, 0, 0, 4),                    // multicast
    Network::v4(240, 0, 0, 0, 4),                    // reserved, broadcast
    Network { bits: 0, prefix: 96 },                 // unspecified, loopback, v4-compatible
    Network::v6(0x64, 0xff9b, 0, 32),                // NAT64: reaches any IPv4 address
    Network::v6(0x100, 0, 0, 64),                    // discard
    Network::v6(0x2001, 0, 0, 23),                   // protocol assignments, Teredo
    Network::v6(0x2001, 0xdb8, 0, 32),               // documentation
    Network::v6(0x2002, 0, 0, 16),                   // 6to4: reaches any IPv4 address
    Network::v6(0x3fff, 0, 0, 20),                   // documentation
    Network::v6(0x5f00, 0, 0, 16),                   // segment routing
    Network::v6(0xfc00, 0, 0, 7),                    // unique local
    Network::v6(0xfe80, 0, 0, 10),                   // link-local
    Network::v6(0xfec0, 0, 0, 10),                   // site-local
    Network::v6(0xff00, 0, 0, 8),                    // multicast
    Network { bits: 0xffff_u128 << 48, prefix: 96 }, // v4-translated (SIIT)
];

/// Tells allowed addresses from refused ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    networks: Vec<Network>,
    hosts: HashSet<String>,
}

impl Guard {
    /// Reads the exceptions; gives back the first entry that is none.
    pub(crate) fn new(allowed: &[String]) -> Result<Self, &str> {
        let mut guard = Self::default();
        for entry in allowed {
            if let Some(network) = Network::parse(entry) {
                guard.networks.push(network);
            } else if is_host_name(entry) {
                guard.hosts.insert(entry.trim_end_matches('.').to_ascii_lowercase());
            } else {
                return Err(entry);
            }
        }
        Ok(guard)
    }

    /// Whether `host`, which leads to `address`, may be reached there.
    pub(crate) fn allows(&self, host: &str, address: IpAddr) -> bool {
        let bits = bits(address);
        let is_private = PRIVATE.iter().any(|network| network.contains(bits));
        !is_private
            || self.networks.iter().any(|network| network.contains(bits))
            || self.hosts.contains(&host.trim_end_matches('.').to_ascii_lowercase())
    }
}

fn is_host_name(text: &str) -> bool {
    let name = text.trim_end_matches('.');
    let has_letter = name.bytes().any(|byte| byte.is_ascii_alphabetic());
    has_letter
        && name.split('.').all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn private_addresses_by_table() {
        let guard = Guard::default();
        let private = [
            "0.0.0.0",
            "10.255.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fc00::1",
            "fdff::1",
            "ff02::1",
            "2002:7f00:1::",
            "fec0::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:0:127.0.0.1",
        ];
        for address in private {
            assert!(!guard.allows("host", address.parse().expect("an address")), "{address}");
        }
        let public = [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "11.0.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2606:4700::1111",
        ];
        for address in public {
            assert!(guard.allows("host", address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn exceptions_by_table() {
        let allowed = ["10.1.0.0/16", "192.168.1.5", "fd00::/8", "Images.shop.lan"].map(str::to_owned);
        let guard = Guard::new(&allowed).expect("a guard");
        let cases = [
            ("x", "10.1.2.3", true),
            ("x", "10.2.0.1", false),
            ("x", "192.168.1.5", true),
            ("x", "::ffff:192.168.1.5", true),
            ("x", "192.168.1.6", false),
            ("x", "fd12::1", true),
            ("images.shop.lan", "127.0.0.1", true),
            ("IMAGES.shop.lan.", "127.0.0.1", true),
            ("shop.lan", "127.0.0.1", false),
        ];
        for (host, address, expected) in cases {
            assert_eq!(guard.allows(host, address.parse().expect("an address")), expected, "{host} {address}");
        }
        for entry in ["10.0.0.0/33", "::1/129", "10.0.0", "http://a", "", "a b", "*", "10.0.0.0/x"] {
            assert_eq!(Guard::new(&[entry.to_owned()]).err(), Some(entry));
        }
    }

    proptest! {
        #[test]
        fn both_spellings_of_an_ipv4_address_are_one(address: u32) {
            let v4 = Ipv4Addr::from_bits(address);
            let guard = Guard::default();
            prop_assert_eq!(guard.allows("x", v4.into()), guard.allows("x", v4.to_ipv6_mapped().into()));
            let refused = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.is_documentation();
            prop_assert!(!refused || !guard.allows("x", v4.into()));
        }
    }
}
