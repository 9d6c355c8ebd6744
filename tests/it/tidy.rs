//! What holds for the whole source tree and no compiler checks: who may name which crate, which way imports go, how long a file gets,
//! that both databases have the same migrations, and that nothing of one machine or of a half-done job is left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rooms of `host/src` from the ground up. A room imports only from lower floors; on the ground floor, where all is pure types, also
/// from its neighbours.
const FLOORS: [&[&str]; 7] = [
    &["task", "limits", "clock", "event", "finding", "secret", "zone"],
    &["plugin", "schedule", "stripe", "metrics", "builtin", "telemetry", "token"],
    &["store", "runtime", "stripe_api", "config"],
    &["registry", "native", "payments", "outgoing"],
    &["http", "scheduler"],
    &["app"],
    &["cli", "main", "lib"],
];

/// A crate or module, and the rooms of the host that may name it.
const NAMED_ONLY_IN: [(&str, &[&str]); 13] = [
    ("sqlx", &["store"]),
    ("sqlx_core", &["store"]),
    ("sqlx_postgres", &["store"]),
    ("rusqlite", &["store"]),
    ("wasmtime", &["runtime"]),
    ("wasmtime_wasi", &["runtime"]),
    ("wasmtime_wasi_http", &["runtime"]),
    ("axum", &["http"]),
    ("reqwest", &["stripe_api", "outgoing", "cli"]),
    ("std::env", &["config", "cli", "main"]),
    ("taskwarden_plugin", &[]),
    ("taskwarden_testkit", &[]),
    ("xtask", &[]),
];

const LINES_MAX: usize = 500;

/// A file beyond [`LINES_MAX`] says why in its first lines, with these words.
const LONG_BECAUSE: &str = "Longer than 500 lines because";

/// Put together here, so that this file does not break its own rules.
const UNFINISHED: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimplemented", "!("), concat!("todo", "!(")];
const MACHINE_PATHS: [&str; 4] = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tmp/", "tw"), concat!("/ho", "me/")];
const REGISTRIES: [&str; 5] = [
    concat!("registry.npm", "js.org"),
    concat!("pypi", ".org/simple"),
    concat!("files.python", "hosted.org"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
];

/// The only place packages come from, as `Cargo.lock` spells it.
const LOCKED_SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

struct Source {
    /// From the workspace's root, with `/`.
    path: String,
    text: String,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file that belongs to the project.
fn sources() -> Vec<Source> {
    const TEXT: [&str; 14] = ["rs", "toml", "wit", "sql", "js", "mjs", "py", "sh", "md", "json", "txt", "yml", "yaml", "lock"];
    let root = workspace();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the workspace is readable").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && ![".ci", ".cargo"].contains(&name.as_str());
            if path.is_dir() {
                if !hidden && !["target", "node_modules", "taskwarden-data"].contains(&name.as_str()) {
                    folders.push(path);
                }
                continue;
            }
            let is_text = path.extension().map_or(folder.ends_with(".ci"), |ext| TEXT.iter().any(|text| ext == *text));
            if !hidden && is_text {
                let relative = path.strip_prefix(&root).expect("it is below the root").to_string_lossy().replace('\\', "/");
                let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{relative}: {error}"));
                found.push(Source { path: relative, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The room of a file of the host, if it is one.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("host/src/")?;
    let first = inside.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The lines of a Rust file with their numbers, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| {
        let comment = if line.trim_start().starts_with("//") { Some(0) } else { line.find(" // ") };
        (at + 1, comment.map_or(line, |at| &line[..at]))
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What follows each `word` that stands in `line` as a word of its own.
fn after_word<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(word).filter_map(move |(at, _)| {
        let before_is_word = line[..at].chars().next_back().is_some_and(|c| is_word(c) || c == ':');
        let after = &line[at + word.len()..];
        (!before_is_word && !after.starts_with(is_word)).then_some(after)
    })
}

/// Whether a line uses a crate or module: `name::…`, `use name`, `extern crate name`.
fn names(line: &str, name: &str) -> bool {
    let declared = line.trim_start().trim_start_matches("pub ").starts_with("use ");
    after_word(line, name).any(|after| after.starts_with("::") || (declared && (after.starts_with(';') || after.starts_with(" as "))))
}

/// The rooms that a Rust file imports: `crate::room`, and each first word in `crate::{…}`, over several lines.
fn imported_rooms(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest_of_group: Option<(usize, String)> = None;
    for (number, line) in code(text) {
        if let Some((start, group)) = &mut rest_of_group {
            group.push_str(line);
            if let Some(names) = top_names(group) {
                found.extend(names.into_iter().map(|name| (*start, name)));
                rest_of_group = None;
            }
            continue;
        }
        for after in after_word(line, "crate") {
            let Some(path) = after.strip_prefix("::") else { continue };
            if path.starts_with('{') {
                match top_names(path) {
                    Some(names) => found.extend(names.into_iter().map(|name| (number, name))),
                    None => rest_of_group = Some((number, path.to_owned())),
                }
            } else {
                found.push((number, path.chars().take_while(|c| is_word(*c)).collect()));
            }
        }
    }
    found
}

/// The first words at the top level of `{a::x, b::{y, z}}`, or nothing while the group is not closed yet.
fn top_names(group: &str) -> Option<Vec<String>> {
    let (mut depth, mut names, mut name, mut taking) = (0, Vec::new(), String::new(), true);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth != 1 => {}
            ',' => {
                names.push(std::mem::take(&mut name));
                taking = true;
            }
            c if taking && is_word(c) => name.push(c),
            c if !c.is_whitespace() => taking = false,
            _ => {}
        }
        if depth == 0 {
            names.push(name);
            names.retain(|name| !name.is_empty());
            return Some(names);
        }
    }
    None
}

fn crates_out_of_place(source: &Source) -> Vec<String> {
    let Some(room) = room(&source.path) else { return Vec::new() };
    let mut wrong = Vec::new();
    for (number, line) in code(&source.text) {
        for (name, rooms) in NAMED_ONLY_IN {
            if names(line, name) && !rooms.contains(&room) {
                wrong.push(format!("{}:{number} names {name}, which only {rooms:?} may", source.path));
            }
        }
    }
    wrong
}

fn imports_out_of_place(source: &Source) -> Vec<String> {
    let Some(here) = room(&source.path) else { return Vec::new() };
    let Some(floor_here) = floor(here) else {
        return vec![format!("{} is in no room of FLOORS in tests/it/tidy.rs; say which floor it belongs to", source.path)];
    };
    imported_rooms(&source.text)
        .into_iter()
        .filter(|(_, there)| there != here)
        .filter_map(|(number, there)| {
            let below = floor(&there).map(|floor_there| floor_there < floor_here || (floor_there == 0 && floor_here == 0));
            // Words that are no rooms are items of the crate's root, which has none.
            (!below.unwrap_or(false)).then(|| format!("{}:{number} imports {there}, which is not below {here}", source.path))
        })
        .collect()
}

fn too_long(source: &Source) -> Vec<String> {
    let is_code = [".rs", ".js", ".py"].iter().any(|ext| source.path.ends_with(ext));
    let lines = source.text.lines().count();
    let explained = source.text.lines().take(10).any(|line| line.contains(LONG_BECAUSE));
    let wrong = is_code && lines > LINES_MAX && !explained;
    wrong
        .then(|| format!("{} has {lines} lines; split it, or say \"{LONG_BECAUSE} …\" in its first lines", source.path))
        .into_iter()
        .collect()
}

fn left_behind(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_lock = source.path.ends_with(".lock") || source.path.ends_with("package-lock.json");
    for (at, line) in source.text.lines().enumerate() {
        let mut say = |what: &str| wrong.push(format!("{}:{} {what}: {}", source.path, at + 1, line.trim()));
        if !is_lock && UNFINISHED.iter().any(|mark| after_mark(line, mark)) {
            say("is unfinished");
        }
        if MACHINE_PATHS.iter().any(|path| line.contains(path)) {
            say("names a path of one machine");
        }
        if REGISTRIES.iter().any(|host| line.contains(host)) {
            say("names a registry's host");
        }
        if source.path.ends_with("Cargo.lock") && line.starts_with("source = ") && !line.contains(LOCKED_SOURCE) {
            say("comes from somewhere else than crates.io");
        }
        if source.path.ends_with("package-lock.json") && line.contains("\"resolved\"") {
            say("names where one machine fetched it from");
        }
    }
    wrong
}

fn after_mark(line: &str, mark: &str) -> bool {
    match mark.strip_suffix("!(") {
        Some(_) => line.contains(mark),
        None => after_word(line, mark).next().is_some(),
    }
}

/// Migrations as `NNNN_name.sql`, each in every database's folder and numbered without gaps from 0001.
fn unpaired_migrations(paths: &[&str]) -> Vec<String> {
    let mut by_database: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in paths {
        if let Some((database, file)) = path.strip_prefix("migrations/").and_then(|inside| inside.split_once('/')) {
            by_database.entry(database).or_default().push(file);
        }
    }
    let mut wrong = Vec::new();
    for (database, files) in &mut by_database {
        files.sort_unstable();
        for (at, file) in files.iter().enumerate() {
            if !file.starts_with(&format!("{:04}_", at + 1)) || !file.ends_with(".sql") {
                wrong.push(format!("migrations/{database}/{file} should be number {:04}", at + 1));
            }
        }
    }
    let lists: Vec<_> = by_database.iter().collect();
    for pair in lists.windows(2) {
        if let [(one, these), (other, those)] = pair
            && these != those
        {
            wrong.push(format!("migrations of {one} and {other} differ: {these:?} and {those:?}"));
        }
    }
    wrong
}

fn all(rule: impl Fn(&Source) -> Vec<String>) {
    let sources = sources();
    assert!(sources.iter().any(|source| source.path == "host/src/lib.rs"), "the tree was not found");
    let wrong: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn crates_are_named_only_where_they_belong() {
    all(crates_out_of_place);
}

#[test]
fn imports_go_downwards() {
    all(imports_out_of_place);
}

#[test]
fn files_are_short() {
    all(too_long);
}

#[test]
fn nothing_is_left_behind() {
    all(left_behind);
}

#[test]
fn both_databases_have_the_same_migrations() {
    let sources = sources();
    let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    assert_eq!(unpaired_migrations(&paths), Vec::<String>::new());
}

mod the_rules_can_fail {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn on_crates_out_of_place() {
        for line in ["use sqlx::Row;", "use sqlx;", "    let x = sqlx::query(a);", "pub use sqlx as db;", "fn f(x: &sqlx::Pool) {}"] {
            assert_eq!(crates_out_of_place(&source("host/src/http/tasks.rs", line)).len(), 1, "{line}");
            assert!(crates_out_of_place(&source("host/src/store/sqlite/mod.rs", line)).is_empty(), "{line}");
            assert!(crates_out_of_place(&source("tests/it/store.rs", line)).is_empty(), "{line}");
        }
        for line in
            ["// sqlx::query is not for us", "let x = 1; // see sqlx::query", "use my_sqlx::Row;", "/// [sqlx::Row]", "self.sqlx = 1;"]
        {
            assert!(crates_out_of_place(&source("host/src/http/tasks.rs", line)).is_empty(), "{line}");
        }
        assert_eq!(crates_out_of_place(&source("host/src/app.rs", "std::env::var(\"X\")")).len(), 1);
        assert!(crates_out_of_place(&source("host/src/config.rs", "std::env::var(\"X\")")).is_empty());
        assert_eq!(crates_out_of_place(&source("host/src/cli/run.rs", "use taskwarden_testkit::Kit;")).len(), 1);
    }

    #[test]
    fn on_imports_that_go_up_or_sideways() {
        let wrong = |path: &str, text: &str| imports_out_of_place(&source(path, text)).len();
        assert_eq!(wrong("host/src/store/mod.rs", "use crate::runtime::Job;"), 1);
        assert_eq!(wrong("host/src/runtime/mod.rs", "use crate::store::Task;"), 1);
        assert_eq!(wrong("host/src/http/mod.rs", "use crate::scheduler::Permit;"), 1);
        assert_eq!(wrong("host/src/scheduler/mod.rs", "fn f(a: &crate::app::App) {}"), 1);
        assert_eq!(wrong("host/src/task/mod.rs", "use crate::{\n    clock::UnixMs,\n    store::Store,\n};"), 1);
        assert_eq!(wrong("host/src/plugin/mod.rs", "use crate::{limits::{Limit, LimitSet}, registry::Registry};"), 1);
        assert_eq!(wrong("host/src/attic/mod.rs", ""), 1);
        assert_eq!(wrong("host/src/http/mod.rs", "use crate::http::json::Json;\nuse crate::store::Store;\nuse crate::task::Task;"), 0);
        assert_eq!(wrong("host/src/task/mod.rs", "use crate::limits::Limits;"), 0);
        assert_eq!(wrong("host/src/http/mod.rs", "// crate::scheduler is our sibling"), 0);
    }

    #[test]
    fn on_long_files() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(too_long(&source("host/src/a.rs", &long)).len(), 1);
        assert!(too_long(&source("host/src/a.rs", &format!("//! {LONG_BECAUSE} it is a table.\n{long}"))).is_empty());
        assert!(too_long(&source("host/src/a.rs", &"x\n".repeat(LINES_MAX))).is_empty());
        assert!(too_long(&source("Cargo.lock", &long)).is_empty());
    }

    #[test]
    fn on_what_is_left_behind() {
        for line in UNFINISHED.iter().chain(&MACHINE_PATHS).chain(&REGISTRIES) {
            assert_eq!(left_behind(&source("docs/a.md", &format!("see {line} x"))).len(), 1, "{line}");
        }
        assert!(left_behind(&source("docs/a.md", "todo lists, mastodon")).is_empty());
        assert_eq!(left_behind(&source("Cargo.lock", "source = \"registry+https://mirror.example/index\"")).len(), 1);
        assert!(left_behind(&source("Cargo.lock", &format!("source = \"{LOCKED_SOURCE}\""))).is_empty());
        assert_eq!(left_behind(&source("tests/guests/js/package-lock.json", "  \"resolved\": \"https://mirror.example/a.tgz\"")).len(), 1);
    }

    #[test]
    fn on_migrations() {
        let wrong = |paths: &[&str]| unpaired_migrations(paths).len();
        assert_eq!(wrong(&["migrations/sqlite/0001_tasks.sql", "migrations/sqlite/0002_model.sql", "host/src/lib.rs"]), 0);
        assert_eq!(wrong(&["migrations/sqlite/0001_tasks.sql", "migrations/sqlite/0003_model.sql"]), 1);
        assert_eq!(wrong(&["migrations/sqlite/0001_tasks.sql", "migrations/postgres/0001_tasks.sql"]), 0);
        assert_eq!(wrong(&["migrations/sqlite/0001_tasks.sql", "migrations/postgres/0001_jobs.sql"]), 1);
    }
}
