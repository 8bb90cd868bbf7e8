//! The ways in which files change.

use std::fs;
#[cfg(unix)]
use std::path::Path;
use std::thread;

use otlp_mtls::Signal;
use otlp_mtls::testing::{Fixture, Reply};

use super::{CA, CERTIFICATE, KEY, Service, WAYS, long_ago};
#[cfg(unix)]
use super::{Running, set_modified};
use crate::support::SOON;

#[test]
fn renamed_over() {
    for way in WAYS {
        let service = Service::new(way);
        service.is(0, "first", 0);
        service.files.replace_identity(&service.pki.client_named("second"));
        service.is(1, "second", 1);
        service.files.replace_identity(&service.pki.client_named("third"));
        service.is(2, "third", 2);
        assert_eq!(service.running.refusal(), None);
    }
}

#[test]
fn written_in_place() {
    for way in WAYS {
        let service = Service::new(way);
        service.is(0, "first", 0);
        service.files.write_identity(&service.pki.client_named("second"));
        service.is(1, "second", 1);
    }
}

#[test]
fn certificate_and_key_at_different_moments() {
    for way in WAYS {
        for in_place in [true, false] {
            for order in [["client.crt", "client.key"], ["client.key", "client.crt"]] {
                let service = Service::new(way);
                service.is(0, "first", 0);
                let second = service.pki.client_named("second");
                let change = |name: &str| {
                    let content = if name == "client.crt" {
                        second.certificate_pem()
                    } else {
                        second.key_pem()
                    };
                    if in_place {
                        service.files.write(name, content);
                    } else {
                        service.files.replace(name, content);
                    }
                };
                change(order[0]);
                let reason = service.still_is(0, "first", 0);
                for expected in [CERTIFICATE, KEY, "client.crt", "client.key", "public keys differ"]
                {
                    assert!(reason.contains(expected), "{reason}");
                }
                change(order[1]);
                service.is(1, "second", 1);
                assert_eq!(service.running.refusal(), None);
            }
        }
    }
}

#[test]
fn half_written_for_a_while() {
    for way in WAYS {
        for (name, variable) in [("client.crt", CERTIFICATE), ("client.key", KEY), ("ca.crt", CA)] {
            let service = Service::new(way);
            service.is(0, "first", 0);
            let second = service.pki.client_named("second");
            let bundle = format!("{}{}", service.pki.ca_pem(), service.pki.other_ca_pem());
            let whole = match name {
                "client.crt" => second.certificate_pem(),
                "client.key" => second.key_pem(),
                _ => &bundle,
            };
            service.files.write(name, &whole[..whole.len() - 60]);
            let reason = service.still_is(0, "first", 0);
            let expected =
                format!("{variable}: {}: it is cut off", service.files.path(name).display());
            assert!(reason.starts_with(&expected), "{reason}");

            service.files.write("ca.crt", &bundle);
            service.files.write_identity(&second);
            service.is(1, "second", 1);
            assert_eq!(service.running.refusal(), None);
        }
    }
}

/// A volume as the kubelet lays it out: the names are links through `..data`, which is replaced.
#[cfg(unix)]
#[test]
fn swapped_by_kubernetes() {
    use std::os::unix::fs::symlink;

    for way in WAYS {
        let service = Service::new(way);
        let volume = tempfile::tempdir().unwrap();
        let path = |name: &str| volume.path().join(name);
        let fill = |version: &str, identity: &otlp_mtls::testing::Identity| {
            let directory = path(version);
            fs::create_dir(&directory).unwrap();
            service.pki.write_ca_to(&directory).unwrap();
            identity.write_to(&directory, "client").unwrap();
            for name in ["ca.crt", "client.crt", "client.key"] {
                set_modified(&directory.join(name), long_ago());
            }
        };
        fill("..2024_01", &service.pki.client_named("first"));
        symlink("..2024_01", path("..data")).unwrap();
        for name in ["ca.crt", "client.crt", "client.key"] {
            symlink(Path::new("..data").join(name), path(name)).unwrap();
            // The link itself does not change; its target does.
            let mut touch = std::process::Command::new("touch");
            let touched = touch.args(["-h", "-t", "202311142213"]).arg(path(name)).status();
            assert!(touched.unwrap().success());
        }
        let running = Running::new(
            crate::support::with_vars(vec![
                (CA, path("ca.crt")),
                (CERTIFICATE, path("client.crt")),
                (KEY, path("client.key")),
            ])
            .with_endpoint(service.collector.endpoint())
            .with_protocol(way.protocol())
            .with_reload_interval(std::time::Duration::ZERO),
        );
        assert_eq!(running.seen(&service.collector, Signal::Traces), (0, "first".to_owned()));

        fill("..2024_02", &service.pki.client_named("second"));
        symlink("..2024_02", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        fs::remove_dir_all(path("..2024_01")).unwrap();
        for signal in Signal::ALL {
            assert_eq!(running.seen(&service.collector, signal), (1, "second".to_owned()));
        }
        assert_eq!(running.status().generation, 1);
        assert!(service.collector.wait_until(SOON, |seen| seen.open_connections() == 1));
    }
}

#[test]
fn removed_and_back() {
    for way in WAYS {
        for (name, variable) in [("client.crt", CERTIFICATE), ("client.key", KEY), ("ca.crt", CA)] {
            let service = Service::new(way);
            service.is(0, "first", 0);
            let path = service.files.path(name);
            let away = service.files.path("away");
            fs::rename(&path, &away).unwrap();
            let reason = service.still_is(0, "first", 0);
            let expected = format!("{variable}: {}: there is no such file", path.display());
            assert!(reason.starts_with(&expected), "{reason}");

            fs::rename(&away, &path).unwrap();
            service.is(0, "first", 0);
            assert_eq!(service.running.refusal(), None);

            fs::remove_file(&path).unwrap();
            service.still_is(0, "first", 0);
            if name == "ca.crt" {
                let bundle = format!("{}{}", service.pki.other_ca_pem(), service.pki.ca_pem());
                service.files.write(name, bundle);
                service.is(1, "first", 1);
            } else {
                service.files.write_identity(&service.pki.client_named("second"));
                service.is(1, "second", 1);
            }
        }
    }
}

#[test]
fn a_new_ca() {
    for way in WAYS {
        let service = Service::new(way);
        let Service { pki, collector, files, .. } = &service;
        service.is(0, "first", 0);
        files.replace("ca.crt", pki.other_ca_pem());
        collector.set_tls(pki.server(Fixture::OtherCa), Some(pki.ca_pem())).unwrap();
        collector.close_connections();
        service.is(1, "first", 1);
        assert_eq!(collector.failed_handshakes(), 0);
    }
}

#[test]
fn a_ca_bundle_that_grows_and_shrinks() {
    for way in WAYS {
        let service = Service::new(way);
        let Service { pki, collector, files, .. } = &service;
        let serve = |fixture| {
            collector.set_tls(pki.server(fixture), Some(pki.ca_pem())).unwrap();
            collector.close_connections();
        };
        service.is(0, "first", 0);
        files.replace("ca.crt", format!("{}{}", pki.ca_pem(), pki.other_ca_pem()));
        service.is(1, "first", 1);
        serve(Fixture::OtherCa);
        service.is(2, "first", 1);
        files.replace("ca.crt", pki.other_ca_pem());
        service.is(3, "first", 2);
        serve(Fixture::Good);
        let error = service.export().unwrap_err();
        assert!(error.contains("we refused the server"), "{error}");
    }
}

/// Pads two contents to the same length.
fn pad(one: &str, other: &str) -> [String; 2] {
    let length = one.len().max(other.len());
    [one, other].map(|pem| pem.to_owned() + &"\n".repeat(length - pem.len()))
}

/// Only the content differs.
#[test]
fn a_change_that_keeps_size_and_time() {
    for way in WAYS {
        let service = Service::new(way);
        let [first, second] = ["one", "two"].map(|name| service.pki.client_named(name));
        let certificates = pad(first.certificate_pem(), second.certificate_pem());
        let keys = pad(first.key_pem(), second.key_pem());
        for (round, name) in ["one", "two"].into_iter().enumerate() {
            for (file, contents) in [("client.crt", &certificates), ("client.key", &keys)] {
                service.files.write(file, &contents[round]);
                service.files.set_modified(file, long_ago());
            }
            service.is(round, name, round as u64 + 1);
        }
    }
}

#[test]
fn touched_and_unchanged() {
    for way in WAYS {
        let service = Service::new(way);
        service.is(0, "first", 0);
        let loaded = service.running.status().loaded;
        for name in ["ca.crt", "client.crt", "client.key"] {
            service.files.set_modified(name, std::time::SystemTime::now());
            service.is(0, "first", 0);
            let content = fs::read(service.files.path(name)).unwrap();
            service.files.replace(name, content);
            service.is(0, "first", 0);
        }
        assert_eq!(service.running.status().loaded, loaded);
        assert_eq!(service.collector.handshakes(), 1);
    }
}

#[test]
fn exports_in_flight_end_on_the_old_connection_which_then_closes() {
    for way in WAYS {
        let service = Service::new(way);
        let Service { collector, running, .. } = &service;
        service.is(0, "first", 0);
        collector.set_reply(|request| match request.signal {
            Signal::Traces => Reply::Hold,
            _ => Reply::Accept,
        });
        thread::scope(|scope| {
            let held = scope.spawn(|| running.export(Signal::Traces));
            assert!(collector.wait_until(SOON, |seen| seen.received().len() == 4));
            service.files.replace_identity(&service.pki.client_named("second"));
            // The export of logs replaces the connection of all signals; metrics were idle.
            assert_eq!(service.seen(Signal::Logs), (1, "second".to_owned()));
            assert_eq!(service.seen(Signal::Metrics), (1, "second".to_owned()));
            assert!(!held.is_finished());
            assert_eq!(collector.open_connections(), 2);
            collector.release();
            held.join().unwrap().unwrap();
        });
        // It closes without another export.
        assert!(collector.wait_until(SOON, |seen| seen.open_connections() == 1), "{way:?}");
        let held =
            collector.requests().into_iter().rfind(|request| request.signal == Signal::Traces);
        let held = held.unwrap();
        assert_eq!(held.connection, 0);
        assert_eq!(held.client_certificate.unwrap().common_name(), Some("first"));
        assert_eq!((collector.connections(), collector.resets()), (2, 0));
        assert_eq!(collector.received().len(), 6, "each was sent once");
    }
}
