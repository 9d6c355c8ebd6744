//! The one place that decides what "the host" is: the real one inside a sandbox, the double everywhere else.

use std::io;

use crate::failure::HostTrouble;

/// Reports how far the task is, for people who wait for it. Needs the capability `progress`.
///
/// `fraction` is 0 to 1. Reports are cheap and may be dropped: only the latest matters.
pub fn progress(fraction: f32, note: impl AsRef<str>) {
    calls::progress(fraction, note.as_ref());
}

/// A value that the operator granted to this plugin under `name`, or none. Needs the capability `settings`.
#[must_use]
pub fn setting(name: &str) -> Option<String> {
    calls::setting(name)
}

pub(crate) fn trouble(message: String) -> io::Error {
    io::Error::other(HostTrouble(message))
}

#[cfg(target_family = "wasm")]
pub(crate) mod calls {
    use crate::bindings::taskwarden::plugin as wit;
    use crate::log::Level;

    pub(crate) use wit::inputs::Reader;
    pub(crate) use wit::outputs::Writer;

    pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
        let level = match level {
            Level::Trace => wit::log::Level::Trace,
            Level::Debug => wit::log::Level::Debug,
            Level::Info => wit::log::Level::Info,
            Level::Warn => wit::log::Level::Warn,
            Level::Error => wit::log::Level::Error,
        };
        let fields: Vec<(String, String)> = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        wit::log::write(level, message, &fields);
    }

    pub(crate) fn progress(fraction: f32, note: &str) {
        wit::progress::report(fraction, note);
    }

    pub(crate) fn setting(name: &str) -> Option<String> {
        wit::settings::get(name)
    }

    pub(crate) fn input_names() -> Vec<String> {
        wit::inputs::names()
    }

    pub(crate) fn open(name: &str) -> Result<Reader, String> {
        wit::inputs::open(name)
    }

    pub(crate) fn create(name: &str, media_type: &str) -> Result<Writer, String> {
        wit::outputs::create(name, media_type)
    }

    pub(crate) fn journal_get(step: &str) -> Option<Vec<u8>> {
        wit::journal::get(step)
    }

    pub(crate) fn journal_put(step: &str, value: &[u8]) -> Result<(), String> {
        wit::journal::put(step, value)
    }

    pub(crate) fn submit(task_type: &str, ai_model: Option<&str>, key: &str, payload: Vec<u8>) -> Result<String, String> {
        let (task_type, ai_model, key) = (task_type.to_owned(), ai_model.map(str::to_owned), key.to_owned());
        wit::tasks::submit(&wit::tasks::NewTask { task_type, ai_model, payload, key })
    }
}

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::double::calls;
