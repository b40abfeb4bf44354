//! What the command line prints: progress bars and text on a terminal, one JSON object a line with `--json`.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    is_json: bool,
}

impl Output {
    /// JSON lines, or text for people.
    pub fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Whether results are JSON lines.
    pub fn is_json(self) -> bool {
        self.is_json
    }

    /// One result: its JSON form, or the text.
    pub fn result(self, json: &impl Serialize, text: impl FnOnce() -> String) {
        let line = if self.is_json { serde_json::to_string(json).unwrap_or_default() } else { text() };
        // A reader that has gone away (`| head`) is no failure of the work.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    /// Something for people to know, on standard error; nothing with `--json`.
    pub fn note(self, text: &str) {
        if !self.is_json {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// A progress bar on standard error when that is a terminal, else one that shows nothing.
    pub fn progress(self, label: &str, total: Option<u64>) -> ProgressBar {
        if self.is_json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if total.is_some() { "{msg:24} {wide_bar} {percent:>3}% {eta}" } else { "{msg:24} {spinner} {pos}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(label.to_owned());
        bar
    }
}
