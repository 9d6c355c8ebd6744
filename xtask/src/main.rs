//! What cargo alone cannot do for this workspace: guests for WebAssembly, one run of every test, a demonstration.

mod guests;
mod process;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const USAGE: &str = "\
cargo xtask plugins                 build plugins and test guests as components, into <target>/wasm
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        ["plugins"] => guests::build(&Workspace::find()?).map(|_| ()),
        [verb, ..] => anyhow::bail!("there is no {verb:?}; these are the verbs:\n{USAGE}"),
    }
}
