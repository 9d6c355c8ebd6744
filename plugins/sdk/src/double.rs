//! For plain `cargo test`: a double of the host that lives in memory.
//!
//! It stands in for the host on the author's side only. It has no sandbox, no limits and no fuel; for those, run the compiled
//! plugin in the real runtime with `taskwarden-testkit` or `taskwarden plugin run`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::log::Level;
use crate::{Failure, Plugin, Task};

/// One line that the plugin logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How loud.
    pub level: Level,
    /// What.
    pub message: String,
    /// With which fields.
    pub fields: Vec<(String, String)>,
}

/// One output that the plugin wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What it says it is.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One task that the plugin submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// What kind of work it is.
    pub task_type: String,
    /// The AI model it is meant for.
    pub ai_model: Option<String>,
    /// What tells it from its siblings.
    pub key: String,
    /// JSON text.
    pub payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct World {
    inputs: BTreeMap<String, Vec<u8>>,
    settings: BTreeMap<String, String>,
    journal: BTreeMap<String, Vec<u8>>,
    outputs: BTreeMap<String, Written>,
    logs: Vec<Line>,
    progress: Vec<(f32, String)>,
    children: Vec<Child>,
    #[cfg(feature = "http")]
    answers: BTreeMap<String, crate::http::Response>,
    #[cfg(feature = "http")]
    requests: Vec<crate::http::Request>,
}

thread_local! {
    /// Each test has a thread, so each has its own host.
    static WORLD: RefCell<Rc<RefCell<World>>> = RefCell::default();
}

fn with<T>(act: impl FnOnce(&mut World) -> T) -> T {
    let world = WORLD.with(|current| Rc::clone(&current.borrow()));
    let mut world = world.borrow_mut();
    act(&mut world)
}

/// A host in memory. What was journaled stays from one run to the next, as it does between attempts.
#[derive(Debug)]
pub struct HostDouble {
    task: Task,
    payload: Vec<u8>,
    world: Rc<RefCell<World>>,
}

impl Default for HostDouble {
    fn default() -> Self {
        let id = "01890000-0000-7000-8000-000000000001".to_owned();
        Self {
            task: Task { idempotency_key: id.clone(), id, task_type: "test".into(), ai_model: None, attempt: 1, max_attempts: 3 },
            payload: b"null".to_vec(),
            world: Rc::default(),
        }
    }
}

impl HostDouble {
    /// A task of type `test`, first attempt, without a payload, nothing granted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the payload, as JSON text.
    #[must_use]
    pub fn payload(mut self, json: impl AsRef<[u8]>) -> Self {
        self.payload = json.as_ref().to_vec();
        self
    }

    /// Sets the task type.
    #[must_use]
    pub fn task_type(mut self, task_type: &str) -> Self {
        self.task.task_type = task_type.to_owned();
        self
    }

    /// Sets the AI model.
    #[must_use]
    pub fn ai_model(mut self, model: &str) -> Self {
        self.task.ai_model = Some(model.to_owned());
        self
    }

    /// Sets the number of the next attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.task.attempt = attempt;
        self
    }

    /// Gives the task an input.
    #[must_use]
    pub fn input(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.world.borrow_mut().inputs.insert(name.to_owned(), bytes.as_ref().to_vec());
        self
    }

    /// Grants a setting.
    #[must_use]
    pub fn setting(self, name: &str, value: &str) -> Self {
        self.world.borrow_mut().settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Answers every request to a URL; a request to any other is not allowed.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn answer(self, url: &str, status: u16, body: impl AsRef<[u8]>) -> Self {
        let answer = crate::http::Response { status, headers: Vec::new(), body: body.as_ref().to_vec() };
        self.world.borrow_mut().answers.insert(url.to_owned(), answer);
        self
    }

    /// The requests that were sent, in order.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn requests(&self) -> Vec<crate::http::Request> {
        self.world.borrow().requests.clone()
    }

    /// Makes one attempt; the next one has the next number and finds this one's journal.
    pub fn run<P: Plugin>(mut self) -> Ran {
        {
            let mut world = self.world.borrow_mut();
            world.outputs.clear();
            world.logs.clear();
            world.progress.clear();
            world.children.clear();
        }
        let before = WORLD.with(|current| current.replace(Rc::clone(&self.world)));
        let result = crate::run::<P>(&self.task, &self.payload);
        WORLD.with(|current| current.replace(before));
        self.task.attempt = self.task.attempt.saturating_add(1);
        let (logs, outputs, progress, children) = {
            let world = self.world.borrow();
            (world.logs.clone(), world.outputs.clone(), world.progress.clone(), world.children.clone())
        };
        Ran { result, logs, outputs, progress, children, host: self }
    }
}

/// What came of one attempt.
#[derive(Debug)]
pub struct Ran {
    /// The result as JSON text, or the failure.
    pub result: Result<Vec<u8>, Failure>,
    /// What was logged.
    pub logs: Vec<Line>,
    /// What was written, by name. The real host keeps it only if the attempt succeeds.
    pub outputs: BTreeMap<String, Written>,
    /// What was reported.
    pub progress: Vec<(f32, String)>,
    /// What was submitted. The real host takes it only if the attempt succeeds, the type is granted and a plugin takes it.
    pub children: Vec<Child>,
    /// The same host, ready for the next attempt.
    pub host: HostDouble,
}

impl Ran {
    /// The result as a JSON value.
    ///
    /// # Errors
    /// The failure, or why the result is not JSON.
    pub fn json(&self) -> Result<serde_json::Value, Failure> {
        let bytes = self.result.as_ref().map_err(Clone::clone)?;
        serde_json::from_slice(bytes).map_err(|e| Failure::permanent(format!("the result is not JSON: {e}")))
    }
}

#[cfg(feature = "http")]
pub(crate) mod wire {
    use super::with;
    use crate::Failure;
    use crate::http::{Request, Response};

    pub(crate) fn send(request: &Request) -> Result<Response, Failure> {
        let answer = with(|world| {
            world.requests.push(request.clone());
            world.answers.get(&request.url).cloned()
        });
        let what = format!("{} {}", request.method, request.url);
        answer.ok_or_else(|| Failure::permanent(format!("{what}: this origin was not granted; give the double an answer for the URL")))
    }
}

pub(crate) mod calls {
    use super::{Child, Level, Line, Written, with};

    pub(crate) struct Reader {
        bytes: std::vec::IntoIter<u8>,
        size: u64,
    }

    impl Reader {
        pub(crate) fn size(&self) -> Option<u64> {
            Some(self.size)
        }
        pub(crate) fn read(&mut self, max_bytes: u32) -> Result<Vec<u8>, String> {
            Ok(self.bytes.by_ref().take(max_bytes as usize).collect())
        }
    }

    pub(crate) struct Writer {
        name: String,
    }

    impl Writer {
        pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), String> {
            with(|world| {
                if let Some(written) = world.outputs.get_mut(&self.name) {
                    written.bytes.extend_from_slice(bytes);
                }
            });
            Ok(())
        }
    }

    pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        with(|world| world.logs.push(Line { level, message: message.to_owned(), fields }));
    }

    pub(crate) fn progress(fraction: f32, note: &str) {
        with(|world| world.progress.push((fraction, note.to_owned())));
    }

    pub(crate) fn setting(name: &str) -> Option<String> {
        with(|world| world.settings.get(name).cloned())
    }

    pub(crate) fn input_names() -> Vec<String> {
        with(|world| world.inputs.keys().cloned().collect())
    }

    pub(crate) fn open(name: &str) -> Result<Reader, String> {
        let bytes = with(|world| world.inputs.get(name).cloned()).ok_or_else(|| format!("there is no input {name:?}"))?;
        Ok(Reader { size: bytes.len() as u64, bytes: bytes.into_iter() })
    }

    pub(crate) fn create(name: &str, media_type: &str) -> Result<Writer, String> {
        let allowed = !name.is_empty() && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !allowed {
            return Err(format!("{name:?} is not an output name: 1 to 128 letters, digits, '.', '_' or '-'"));
        }
        with(|world| {
            if world.outputs.contains_key(name) {
                return Err(format!("there is already an output {name:?}"));
            }
            world.outputs.insert(name.to_owned(), Written { media_type: media_type.to_owned(), bytes: Vec::new() });
            Ok(Writer { name: name.to_owned() })
        })
    }

    pub(crate) fn submit(task_type: &str, ai_model: Option<&str>, key: &str, payload: Vec<u8>) -> Result<String, String> {
        let child = Child { task_type: task_type.to_owned(), ai_model: ai_model.map(str::to_owned), key: key.to_owned(), payload };
        with(|world| {
            let at = match world.children.iter().position(|first| first.key == child.key) {
                Some(at) if world.children.get(at) == Some(&child) => at,
                Some(_) => return Err(format!("the key {key:?} was used before in this attempt, for another task")),
                None => {
                    world.children.push(child);
                    world.children.len() - 1
                }
            };
            Ok(format!("01890000-0000-7000-8000-{:012}", at + 100))
        })
    }

    pub(crate) fn journal_get(step: &str) -> Option<Vec<u8>> {
        with(|world| world.journal.get(step).cloned())
    }
    pub(crate) fn journal_put(step: &str, value: &[u8]) -> Result<(), String> {
        with(|world| world.journal.insert(step.to_owned(), value.to_vec()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Write};

    use super::*;
    use crate::{forget_step, input, log, output, progress, setting, step};

    struct Copies;

    impl Plugin for Copies {
        type Payload = serde_json::Value;
        type Output = Vec<String>;

        fn execute(task: &Task, payload: serde_json::Value) -> Result<Vec<String>, Failure> {
            log::write(Level::Warn, "hello", &[("attempt", &task.attempt.to_string())]);
            let drawn: u32 = step("draw", || Ok(task.attempt * 10))?;
            if payload["forget"] == true {
                forget_step("draw")?;
            }
            let mut copy = output("copy.txt", "text/plain")?;
            let mut lines = Vec::new();
            for line in input("lines")?.lines() {
                let line = line?;
                writeln!(copy, "{line}")?;
                lines.push(line);
            }
            copy.finish()?;
            progress(1.0, "copied");
            lines.push(format!("{drawn} {}", setting("suffix").unwrap_or_default()));
            Ok(lines)
        }
    }

    #[test]
    fn every_capability_reaches_the_double() {
        let long = "x".repeat(100_000);
        let ran = HostDouble::new().input("lines", format!("a\n{long}\n")).setting("suffix", "!").run::<Copies>();
        assert_eq!(ran.json(), Ok(serde_json::json!(["a", long, "10 !"])));
        assert_eq!(ran.outputs["copy.txt"].bytes.len(), 2 + 100_001);
        assert_eq!(ran.logs, [Line { level: Level::Warn, message: "hello".into(), fields: vec![("attempt".into(), "1".into())] }]);
        assert_eq!(ran.progress, [(1.0, "copied".to_owned())]);
    }

    #[test]
    fn a_retry_remembers_its_steps_until_they_are_forgotten() {
        let first = HostDouble::new().input("lines", "").payload(r#"{"forget": false}"#).run::<Copies>();
        let second = first.host.payload(r#"{"forget": true}"#).run::<Copies>();
        assert_eq!(second.json(), Ok(serde_json::json!(["10 "])));
        let third = second.host.run::<Copies>();
        assert_eq!(third.json(), Ok(serde_json::json!(["30 "])));
    }

    #[derive(serde::Deserialize)]
    struct Optional {
        #[serde(default)]
        size: u8,
    }

    struct Sized;

    impl Plugin for Sized {
        type Payload = Optional;
        type Output = u8;

        fn execute(_task: &Task, payload: Optional) -> Result<u8, Failure> {
            Ok(payload.size)
        }
    }

    #[test]
    fn a_task_without_a_payload_has_the_defaults() {
        assert_eq!(HostDouble::new().run::<Sized>().result, Ok(b"0".to_vec()));
        assert_eq!(HostDouble::new().payload(r#"{"size": 3}"#).run::<Sized>().result, Ok(b"3".to_vec()));
        assert!(matches!(HostDouble::new().payload("7").run::<Sized>().result, Err(Failure::Invalid(_))));
    }

    #[test]
    fn a_missing_input_is_the_submitters_mistake() {
        let ran = HostDouble::new().run::<Copies>();
        assert!(matches!(ran.result, Err(Failure::Invalid(reason)) if reason.contains("--input lines=FILE")));
        let ran = HostDouble::new().payload("{").run::<Copies>();
        assert!(matches!(ran.result, Err(Failure::Invalid(reason)) if reason.starts_with("payload: ")));
    }
}
