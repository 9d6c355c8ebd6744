//! From an artifact to a component that is ready to be instantiated, or a refusal that says what to change.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentItem, Type};

use super::cache::Cache;
use super::engine::{MEMORIES_MAX, TABLES_MAX};
use super::inspect::{self, Inspection};
use super::{Refusal, RuntimeConfig};
use crate::limits::Limit;
use crate::plugin::{Capability, Manifest};

/// Artifacts compiled at once. Each uses every core there is for a while.
const COMPILING_MAX: u32 = 2;

/// The interfaces of `wasi:` 0.2 that are linked.
const WASI: [(&str, &[&str]); 6] = [
    (
        "cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("clocks", &["monotonic-clock", "wall-clock"]),
    ("filesystem", &["preopens", "types"]),
    ("io", &["error", "poll", "streams"]),
    ("random", &["random", "insecure", "insecure-seed"]),
    ("sockets", &["instance-network", "ip-name-lookup", "network", "tcp", "tcp-create-socket", "udp", "udp-create-socket"]),
];

/// Compiles artifacts, a few at a time and each on a thread of its own.
///
/// A compiler that has begun cannot be stopped from outside. One that takes too long is given up: its caller is told so, while
/// its thread goes on until it is done, keeps its place among the `COMPILING_MAX` so that no more of them pile up, and then
/// throws its work away.
pub(super) struct Compiler {
    engine: Engine,
    cache: Option<Arc<Cache>>,
    places: Arc<Places>,
    time_max: Duration,
    memory_bytes_max: u64,
    table_elements_max: u64,
}

/// A component that was accepted.
pub(super) struct Accepted {
    pub(super) component: Component,
    pub(super) imports: Vec<String>,
}

impl Compiler {
    pub(super) fn new(engine: &Engine, config: &RuntimeConfig, cache: Option<Cache>) -> Self {
        Self {
            engine: engine.clone(),
            cache: cache.map(Arc::new),
            places: Arc::default(),
            time_max: config.compile_time_max,
            memory_bytes_max: config.ceilings.get(Limit::MemoryBytes),
            table_elements_max: config.ceilings.get(Limit::TableElements),
        }
    }

    /// Checks and compiles. Blocks.
    ///
    /// # Errors
    /// Why it was refused.
    pub(super) fn compile(&self, artifact: &[u8], digest: [u8; 32], manifest: Option<&Manifest>) -> Result<Accepted, Refusal> {
        let too_long = Refusal::CompileTime(self.time_max);
        let Some(place) = Places::take(&self.places, self.time_max) else { return Err(too_long) };
        let (engine, cache) = (self.engine.clone(), self.cache.clone());
        let (memory_max, table_max) = (self.memory_bytes_max, self.table_elements_max);
        let capabilities = manifest.map(|manifest| manifest.capabilities.clone());
        let artifact: Vec<u8> = artifact.to_vec();
        let (tell, told) = mpsc::sync_channel(1);
        let work = move || {
            let _place = place;
            let component = inspect::as_component(&artifact).and_then(|bytes| {
                let found = inspect::shape(&bytes).map_err(|error| Refusal::Malformed(error.to_string()))?;
                check_imports(&found, capabilities.as_deref())?;
                check_shape(&found, memory_max, table_max)?;
                let component = code(&engine, cache.as_deref(), &digest, &bytes)?;
                check_execute(&engine, &component)?;
                Ok(Accepted { component, imports: found.imports })
            });
            // Nobody listens any more to a compile that was given up.
            let _ = tell.send(component);
        };
        std::thread::Builder::new()
            .name("compile".to_owned())
            .spawn(work)
            .map_err(|error| Refusal::BeyondEngine(format!("this host has no thread to compile on: {error}")))?;
        match told.recv_timeout(self.time_max) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(too_long),
            Err(RecvTimeoutError::Disconnected) => Err(Refusal::Malformed("the compiler broke down on it".to_owned())),
        }
    }
}

/// Compiled code from the cache, or made now and kept there.
fn code(engine: &Engine, cache: Option<&Cache>, digest: &[u8; 32], bytes: &[u8]) -> Result<Component, Refusal> {
    if let Some(component) = cache.and_then(|cache| cache.load(engine, digest)) {
        return Ok(component);
    }
    let component = Component::new(engine, bytes).map_err(|error| {
        // The engine's own words for both; only a component that is good in itself can be too large for the pools.
        let words = format!("{error:#}");
        if wasmparser::validate(bytes).is_ok() { Refusal::BeyondEngine(words) } else { Refusal::Malformed(words) }
    })?;
    if let Some(cache) = cache {
        cache.store(engine, digest, &component);
    }
    Ok(component)
}

/// Refuses what is neither linked nor granted, with every name.
fn check_imports(found: &Inspection, capabilities: Option<&[Capability]>) -> Result<(), Refusal> {
    let ungranted: Vec<String> = found.imports.iter().filter(|name| !is_granted(name, capabilities)).cloned().collect();
    if ungranted.is_empty() { Ok(()) } else { Err(Refusal::UngrantedImports(ungranted)) }
}

fn is_granted(import: &str, capabilities: Option<&[Capability]>) -> bool {
    if let Some((capability, version)) = Capability::of_import(import) {
        let linked = if capability == Capability::Http { "0.2." } else { "0.1." };
        return version.starts_with(linked) && capabilities.is_none_or(|granted| granted.contains(&capability));
    }
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    if interface == "taskwarden:plugin/types" {
        return version.starts_with("0.1.");
    }
    let wasi = interface.strip_prefix("wasi:").and_then(|rest| rest.split_once('/'));
    wasi.is_some_and(|(package, name)| {
        version.starts_with("0.2.") && WASI.iter().any(|(linked, interfaces)| *linked == package && interfaces.contains(&name))
    })
}

/// Refuses what the pools have no room for, before compiling it.
fn check_shape(found: &Inspection, memory_max: u64, table_max: u64) -> Result<(), Refusal> {
    let beyond = |what: String| Err(Refusal::BeyondEngine(what));
    let many = |count: usize, max: u32| u32::try_from(count).map_or(true, |count| count > max);
    if many(found.memories.len(), MEMORIES_MAX) {
        return beyond(format!("it has {} linear memories and may have {MEMORIES_MAX}", found.memories.len()));
    }
    if many(found.tables.len(), TABLES_MAX) {
        return beyond(format!("it has {} tables and may have {TABLES_MAX}", found.tables.len()));
    }
    if let Some(memory) = found.memories.iter().find(|memory| memory.initial_bytes > memory_max) {
        return beyond(format!("a memory starts with {} bytes and the ceiling of memory_bytes is {memory_max}", memory.initial_bytes));
    }
    if let Some(table) = found.tables.iter().find(|table| table.initial_elements > table_max) {
        return beyond(format!("a table starts with {} elements and the ceiling of table_elements is {table_max}", table.initial_elements));
    }
    Ok(())
}

const EXECUTE: &str = "func(task: record { id: string, task-type: string, ai-model: option<string>, attempt: u32, max-attempts: u32, \
                       payload: list<u8>, idempotency-key: string }) -> result<list<u8>, variant { invalid(string), permanent(string), \
                       transient(record { reason: string, retry-after-ms: option<u64> }) }>";

/// Refuses a component whose `execute` is not the one of the world.
fn check_execute(engine: &Engine, component: &Component) -> Result<(), Refusal> {
    let component_type = component.component_type();
    let execute = component_type.exports(engine).find(|(name, _)| *name == "execute").map(|(_, export)| export.ty);
    let found = match execute {
        None => {
            return Err(Refusal::WrongExports(
                "there is no function `execute`; build it against world taskwarden:plugin/executor".to_owned(),
            ));
        }
        Some(ComponentItem::ComponentFunc(function)) => {
            let params: Vec<_> = function.params().map(|(name, ty)| format!("{name}: {}", describe(&ty))).collect();
            let results: Vec<_> = function.results().map(|ty| describe(&ty)).collect();
            let arrow = if results.is_empty() { "" } else { " -> " };
            format!("func({}){arrow}{}", params.join(", "), results.join(", "))
        }
        Some(_) => "not a function".to_owned(),
    };
    if found == EXECUTE {
        return Ok(());
    }
    Err(Refusal::WrongExports(format!("`execute` is {found}; world taskwarden:plugin/executor wants {EXECUTE}")))
}

/// A type as WIT would write it, with named types written out.
fn describe(ty: &Type) -> String {
    let optional = |ty: Option<Type>| ty.map_or_else(|| "_".to_owned(), |ty| describe(&ty));
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::S8 => "s8".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::S16 => "s16".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::S32 => "s32".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::S64 => "s64".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::Float32 => "f32".to_owned(),
        Type::Float64 => "f64".to_owned(),
        Type::Char => "char".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(list) => format!("list<{}>", describe(&list.ty())),
        Type::Option(option) => format!("option<{}>", describe(&option.ty())),
        Type::Result(result) => format!("result<{}, {}>", optional(result.ok()), optional(result.err())),
        Type::Tuple(tuple) => format!("tuple<{}>", tuple.types().map(|ty| describe(&ty)).collect::<Vec<_>>().join(", ")),
        Type::Record(record) => {
            let fields: Vec<_> = record.fields().map(|field| format!("{}: {}", field.name, describe(&field.ty))).collect();
            format!("record {{ {} }}", fields.join(", "))
        }
        Type::Variant(variant) => {
            let cases: Vec<_> = variant
                .cases()
                .map(|case| case.ty.map_or_else(|| case.name.to_owned(), |ty| format!("{}({})", case.name, describe(&ty))))
                .collect();
            format!("variant {{ {} }}", cases.join(", "))
        }
        Type::Enum(cases) => format!("enum {{ {} }}", cases.names().collect::<Vec<_>>().join(", ")),
        Type::Flags(flags) => format!("flags {{ {} }}", flags.names().collect::<Vec<_>>().join(", ")),
        Type::Own(_) | Type::Borrow(_) => "a resource".to_owned(),
        _ => "of another kind".to_owned(),
    }
}

/// How many artifacts are being compiled.
#[derive(Default)]
struct Places {
    taken: Mutex<u32>,
    freed: Condvar,
}

/// A right to compile, given back when it is dropped.
struct Place(Arc<Places>);

impl Places {
    /// Waits for a place, by the machine's clock: the compiler runs on the machine's time, whatever the tasks' clock says.
    fn take(places: &Arc<Self>, patience: Duration) -> Option<Place> {
        let mut taken = places.taken.lock();
        let gave_up = places.freed.wait_while_for(&mut taken, |taken| *taken >= COMPILING_MAX, patience).timed_out();
        if gave_up && *taken >= COMPILING_MAX {
            return None;
        }
        *taken += 1;
        Some(Place(Arc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock() -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_granted_by_capability_and_version() {
        let granted = |name| is_granted(name, Some(&[Capability::Log]));
        assert!(granted("taskwarden:plugin/log@0.1.0"));
        assert!(granted("taskwarden:plugin/types@0.1.0"));
        assert!(granted("wasi:cli/stdout@0.2.6"));
        for refused in [
            "taskwarden:plugin/inputs@0.1.0",
            "taskwarden:plugin/log@0.2.0",
            "taskwarden:plugin/log",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:http/incoming-handler@0.2.0",
            "taskwarden:plugin/http@0.1.0",
            "wasi:cli/stdout@0.3.0",
            "env",
        ] {
            assert!(!granted(refused), "{refused}");
        }
        assert!(is_granted("taskwarden:plugin/inputs@0.1.0", None));
        assert!(is_granted("wasi:http/types@0.2.9", Some(&[Capability::Http])));
    }

    #[test]
    fn places_are_given_back() {
        let places = Arc::new(Places::default());
        let held: Vec<_> = (0..COMPILING_MAX).map(|_| Places::take(&places, Duration::ZERO).expect("free")).collect();
        assert!(Places::take(&places, Duration::ZERO).is_none());
        drop(held);
        assert!(Places::take(&places, Duration::ZERO).is_some());
    }
}
