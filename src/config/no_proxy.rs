//! `NO_PROXY`: the hosts that are reached without a proxy, in the forms of Go's `httpproxy`.

use std::net::IpAddr;

/// Whether one entry of a comma-separated list names the host.
///
/// `host` is a name or an address without brackets.
pub(super) fn names(list: &str, host: &str, port: u16) -> bool {
    let host = host.to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    list.split(',').any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let Some((network, prefix)) = network(&entry) {
            return address.is_some_and(|address| is_within(address, network, prefix));
        }
        let (named, only_port) = split_port(&entry);
        if only_port.is_some_and(|only| only.parse() != Ok(port)) {
            return false;
        }
        match (named.parse::<IpAddr>(), address) {
            (Ok(named), Some(address)) => named.to_canonical() == address.to_canonical(),
            (Err(_name), None) => is_within_domain(&host, named),
            _ => false,
        }
    })
}

/// `*.domain` matches subdomains only; `domain` and `.domain` also match the domain itself, the
/// latter as in curl and unlike Go.
fn is_within_domain(host: &str, named: &str) -> bool {
    let (domain, takes_itself) = match named.strip_prefix("*.") {
        Some(domain) => (domain, false),
        None => (named.strip_prefix('.').unwrap_or(named), true),
    };
    let Some(below) = host.strip_suffix(domain) else {
        return false;
    };
    !domain.is_empty() && (below.ends_with('.') || below.is_empty() && takes_itself)
}

/// `host:port` or `[v6]:port`; an IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

/// An address and the length of its prefix: `10.0.0.0/8`.
fn network(entry: &str) -> Option<(IpAddr, u32)> {
    let (address, prefix) = entry.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

fn is_within(address: IpAddr, network: IpAddr, prefix: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            prefix <= 32 && differing.leading_zeros() >= prefix
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            prefix <= 128 && differing.leading_zeros() >= prefix
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn matching_hosts() {
        for (entry, host, port, expected) in [
            ("example.com", "example.com", 80, true),
            ("EXAMPLE.com", "a.Example.com", 80, true),
            ("ample.com", "example.com", 80, false),
            (".example.com", "a.example.com", 80, true),
            (".example.com", "example.com", 80, true),
            ("*.example.com", "a.example.com", 80, true),
            ("*.example.com", "example.com", 80, false),
            ("*.example.com", "anexample.com", 80, false),
            ("example.com:80", "example.com", 80, true),
            ("example.com:80", "example.com", 443, false),
            ("*.example.com:443", "a.example.com", 443, true),
            ("example.com:http", "example.com", 80, false),
            ("*", "example.com", 80, true),
            ("*", "10.0.0.1", 80, true),
            (":80", "example.com", 80, false),
            (".", "example.com", 80, false),
            ("", "example.com", 80, false),
            ("b, , example.com", "example.com", 80, true),
            ("10.0.0.1", "10.0.0.1", 80, true),
            ("10.0.0.1:80", "10.0.0.1", 80, true),
            ("10.0.0.1:81", "10.0.0.1", 80, false),
            ("0.0.1", "10.0.0.1", 80, false),
            ("10.0.0.0/30", "10.0.0.3", 80, true),
            ("10.0.0.0/30", "10.0.0.4", 80, false),
            ("10.0.0.0/33", "10.0.0.0", 80, false),
            ("0.0.0.0/0", "10.0.0.4", 80, true),
            ("0.0.0.0/0", "example.com", 80, false),
            ("2001:db8::1", "2001:db8::1", 80, true),
            ("2001:db8:0::1", "2001:db8::1", 80, true),
            ("[2001:db8::1]", "2001:db8::1", 80, true),
            ("[2001:db8::1]:80", "2001:db8::1", 80, true),
            ("[2001:db8::1]:443", "2001:db8::1", 80, false),
            ("2002:db8:a::45/64", "2002:db8:a::123", 80, true),
            ("2002:db8:a::45/64", "2002:db8:b::123", 80, false),
            ("::ffff:10.0.0.1", "10.0.0.1", 80, true),
        ] {
            assert_eq!(names(entry, host, port), expected, "{entry} for {host}:{port}");
        }
    }
}
