//! Checks whether telemetry would be delivered, and if not, why.
//!
//! It reads the environment like a service, so run it where the service runs, as the same user.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

use otlp_mtls::check::{Finding, Outcome, Report, SignalReport, Topic};
use otlp_mtls::{Error, Exporters};

const USAGE: &str = "\
Checks whether telemetry would be delivered with the OTEL_* variables of this environment, and if not, why.

Usage: otlp-doctor [--json] [--watch[=SECONDS]] [--color=WHEN]

  --json             print JSON
  --watch[=SECONDS]  check repeatedly, by default every 10 seconds, and print the signals that have
                     changed; with --json, print every report, one per line
  --color=WHEN       auto (the default: on a terminal, unless NO_COLOR is set), always or never
  --help, --version

Exit status: 0 if every signal would be delivered, 1 if one would not, 2 if the configuration or the
command line cannot be used.
";

const NOT_DELIVERED: u8 = 1;
const UNUSABLE: u8 = 2;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Options {
    json: bool,
    watch: Option<Duration>,
    /// `None` if it depends on standard output.
    color: Option<bool>,
}

impl Options {
    /// `Err` has the text to print instead of a report.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        for argument in arguments {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), None),
            };
            match (name, value) {
                ("--json", None) => options.json = true,
                ("--watch", None) => options.watch = Some(DEFAULT_INTERVAL),
                ("--watch", Some(seconds)) => {
                    let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0);
                    options.watch = seconds.map(Duration::from_secs);
                    if seconds.is_none() {
                        return Err("--watch: expected a number of seconds".to_owned());
                    }
                }
                ("--color", Some("auto")) => options.color = None,
                ("--color", Some("always")) => options.color = Some(true),
                ("--color", Some("never")) => options.color = Some(false),
                _ => return Err(format!("{argument}: unknown argument")),
            }
        }
        Ok(options)
    }

    fn has_color(&self) -> bool {
        self.color.unwrap_or_else(|| {
            io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
        })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        return end(print(USAGE), 0);
    }
    if arguments.iter().any(|argument| argument == "--version") {
        return end(print(concat!("otlp-doctor ", env!("CARGO_PKG_VERSION"), "\n")), 0);
    }
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(words) => {
            eprint!("otlp-doctor: {words}\n\n{USAGE}");
            return UNUSABLE.into();
        }
    };
    let exporters = match exporters() {
        Ok(exporters) => exporters,
        Err(error) if options.json => {
            let error = serde_json::json!({ "error": format!("{error:?}") });
            return end(print(&format!("{error:#}\n")), UNUSABLE);
        }
        Err(error) => {
            eprintln!("otlp-doctor: {error:?}");
            return UNUSABLE.into();
        }
    };
    match options.watch {
        Some(interval) => watch(&exporters, &options, interval),
        None => {
            let report = exporters.check_blocking();
            end(show(&report, &options).and_then(|text| print(&text)), verdict(&report))
        }
    }
}

/// Built as in a service, but without output on standard error: the report has everything.
fn exporters() -> Result<Exporters, Error> {
    Exporters::builder()
        .with_env(|name| match name {
            "OTEL_LOG_LEVEL" => Some("none".into()),
            name => env::var_os(name),
        })
        .with_failure_handler(|_| {})
        .build()
}

fn verdict(report: &Report) -> u8 {
    if report.is_delivered() { 0 } else { NOT_DELIVERED }
}

fn show(report: &Report, options: &Options) -> io::Result<String> {
    let text = match (options.json, options.has_color()) {
        (true, _) => serde_json::to_string_pretty(report)?,
        (false, true) => format!("{report:#}"),
        (false, false) => report.to_string(),
    };
    Ok(text + "\n")
}

/// Checks until interrupted, or until standard output is closed.
fn watch(exporters: &Exporters, options: &Options, interval: Duration) -> ExitCode {
    let mut before: Option<Report> = None;
    loop {
        // The report shows new credentials, or why they were rejected.
        let _ = exporters.reload();
        let report = exporters.check_blocking();
        let text = match (&before, options.json) {
            (_, true) => serde_json::to_string(&report).map(|line| line + "\n").map_err(Into::into),
            (None, false) => show(&report, options).map(|text| text + "\n"),
            (Some(before), false) => Ok(changes(before, &report, options)),
        };
        if let Err(error) = text.and_then(|text| print(&text)) {
            return end(Err(error), verdict(&report));
        }
        before = Some(report);
        thread::sleep(interval);
    }
}

/// The signals that have changed, with the time.
fn changes(before: &Report, now: &Report, options: &Options) -> String {
    let mut text = String::new();
    for signal in &now.signals {
        let before = before.signals.iter().find(|before| before.signal == signal.signal);
        if before.is_some_and(|before| essence(before).eq(essence(signal))) {
            continue;
        }
        let at = httpdate::fmt_http_date(now.at);
        text += &match options.has_color() {
            true => format!("{at}: {signal:#}\n\n"),
            false => format!("{at}: {signal}\n\n"),
        };
    }
    text
}

/// The findings to compare, without the address: the collector may have several.
fn essence(signal: &SignalReport) -> impl Iterator<Item = &Finding> {
    signal.findings.iter().filter(|finding| {
        finding.outcome != Outcome::Good || !matches!(finding.topic, Topic::Dns | Topic::Tcp)
    })
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// A closed standard output is not an error.
fn end(printed: io::Result<()>, status: u8) -> ExitCode {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("otlp-doctor: standard output: {error}");
            UNUSABLE.into()
        }
        _ => status.into(),
    }
}
