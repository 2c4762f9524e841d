//! Progress bars on stderr with rate and time left; silent where stderr is no terminal.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tqz::Progress;

use crate::output::Console;

/// One bar, renewed for every stage.
pub(crate) struct Bars {
    visible: bool,
    current: Mutex<Option<ProgressBar>>,
}

impl Bars {
    pub(crate) fn new(console: &Console) -> Self {
        Self {
            visible: console.interactive(),
            current: Mutex::new(None),
        }
    }

    /// Says something else beside the bar.
    #[cfg(feature = "encoder")]
    pub(crate) fn say(&self, text: String) {
        self.with(|current| {
            if let Some(bar) = current {
                bar.set_message(text);
            }
        });
    }

    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut current) = self.current.lock() {
            act(&mut current);
        }
    }
}

/// `1234567.0` → `1.23M/s`: three digits.
fn rate(per_second: f64) -> String {
    let (number, unit) = match per_second {
        r if r >= 1e6 => (r / 1e6, "M"),
        r if r >= 1e3 => (r / 1e3, "k"),
        r => (r, ""),
    };
    let digits = usize::from(number < 100.0) + usize::from(number < 10.0);
    format!("{number:.digits$}{unit}/s")
}

fn write_rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    // A bar that cannot be drawn is no reason to stop.
    let _ = out.write_str(&rate(state.per_sec()));
}

impl Progress for Bars {
    fn begin(&self, stage: &str, units: u64) {
        let target = if self.visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(units), target);
        let style = "{msg:<22} {wide_bar:.cyan/dim} {pos}/{len} {rate:>9} {eta:>4} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.with_key("rate", write_rate));
        }
        bar.set_message(stage.to_owned());
        self.with(|current| {
            if let Some(previous) = current.replace(bar) {
                previous.finish_and_clear();
            }
        });
    }

    fn advance(&self, units: u64) {
        self.with(|current| {
            if let Some(bar) = current {
                bar.inc(units);
            }
        });
    }

    fn finish(&self) {
        self.with(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rate(369.476), "369/s");
        assert_eq!(rate(0.5), "0.50/s");
        assert_eq!(rate(43_210.0), "43.2k/s");
        assert_eq!(rate(3_650_378.0), "3.65M/s");
    }
}
