//! Keeps foreign web pages out: a page that a browser shows must not reach the box through a name it controls (DNS
//! rebinding), nor make the browser write to it (cross-site requests).

use std::net::IpAddr;

/// What a request says about where it comes from and goes to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Claims<'a> {
    /// `Host`, or the authority of an HTTP/2 request.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// Whether the method is anything but GET, HEAD or OPTIONS.
    pub is_write: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is for a host name that is not ours.
    Host,
    /// It writes, and comes from another site.
    CrossSite,
}

/// Lets through what names this box and, if it writes, comes from a page of this box or from no page at all.
pub(crate) fn check(claims: Claims<'_>, host_names: &[String]) -> Result<(), Refusal> {
    if claims.host.is_some_and(|host| !is_ours(host, host_names)) {
        return Err(Refusal::Host);
    }
    if !claims.is_write {
        return Ok(());
    }
    if claims.fetch_site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(Refusal::CrossSite);
    }
    let Some(origin) = claims.origin else { return Ok(()) };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    if authority.is_some() && authority == claims.host { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// A rebinding attack needs a name, so plain addresses are always ours; names must be known.
fn is_ours(host: &str, host_names: &[String]) -> bool {
    let name = without_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || host_names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_by_table() {
        let names = ["shop.internal".to_owned()];
        for (host, ours) in [
            ("127.0.0.1:8742", true),
            ("[::1]:8742", true),
            ("[::1]", true),
            ("::1", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("Shop.Internal:80", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example:8742", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            let verdict = check(Claims { host: Some(host), ..Claims::default() }, &names);
            assert_eq!(verdict.is_ok(), ours, "{host}");
        }
        assert!(check(Claims::default(), &[]).is_ok(), "no browser sends a request without a host");
    }

    #[test]
    fn writes_by_table() {
        let ours = Some("127.0.0.1:8742");
        let cases = [
            (None, None, true),
            (Some("http://127.0.0.1:8742"), None, true),
            (Some("http://127.0.0.1:8742"), Some("same-origin"), true),
            (Some("http://127.0.0.1:9999"), None, false),
            (Some("https://evil.example"), None, false),
            (Some("null"), None, false),
            (None, Some("cross-site"), false),
            (None, Some("same-site"), false),
            (None, Some("none"), true),
        ];
        for (origin, fetch_site, allowed) in cases {
            let claims = Claims { host: ours, origin, fetch_site, is_write: true };
            assert_eq!(check(claims, &[]), if allowed { Ok(()) } else { Err(Refusal::CrossSite) }, "{origin:?} {fetch_site:?}");
            assert!(check(Claims { is_write: false, ..claims }, &[]).is_ok());
        }
    }
}
