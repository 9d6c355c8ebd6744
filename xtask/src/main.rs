//! What cargo alone cannot do for this workspace: guests for WebAssembly, one run of every test, a demonstration.

mod bench;
mod client;
mod demo;
mod foreign;
mod guests;
mod host;
mod peers;
mod postgres;
mod process;
mod soak;
mod test;
mod toolchain;
mod workspace;

use std::path::Path;
use std::process::ExitCode;

use workspace::Workspace;

const USAGE: &str = "\
cargo xtask demo               start a host, give it a mixed load, show what came of it
cargo xtask plugins            build plugins and test guests as components, into <target>/wasm
cargo xtask test [NAME…]       everything that can be checked here; with names, only the tests whose names contain one of them
cargo xtask foreign-guests     build and run the guests in JavaScript and Python
cargo xtask dist               a release binary with the plugins inside
cargo xtask soak [SECONDS [SEED]]  hosts and databases that fail in every way under a load, and a reckoning of what was promised
cargo xtask bench [PART…]      what the host costs: dispatch, throughput, latency, flood, fuel, pg; pg-flat by name only
cargo xtask peers FOLDER       the queue beside other queues, which are installed into FOLDER
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
        ["test", filters @ ..] => test::run(&Workspace::find()?, filters),
        ["foreign-guests"] => {
            let workspace = Workspace::find()?;
            let host = host::build(&workspace, &guests::build(&workspace)?, host::Profile::Dev)?;
            let mut tally = test::Tally::default();
            foreign::check(&workspace, &host, &mut tally, foreign::WhenMissing::Fail);
            tally.finish()
        }
        ["demo"] => {
            let workspace = Workspace::find()?;
            let host = host::build(&workspace, &guests::build(&workspace)?, host::Profile::Dev)?;
            demo::run(&host)
        }
        ["bench", parts @ ..] => bench::run(&Workspace::find()?, parts),
        ["peers", folder, options @ ..] => peers::run(&Workspace::find()?, Path::new(folder), options),
        ["soak", words @ ..] => {
            let options = soak::Options::parse(words)?;
            let workspace = Workspace::find()?;
            let components = guests::build(&workspace)?;
            let host = host::build(&workspace, &components, host::Profile::Dev)?;
            soak::on_sqlite(&host, &components, options)?;
            soak::on_postgres(&host, &components, options)
        }
        ["dist"] => {
            let workspace = Workspace::find()?;
            let binary = host::build(&workspace, &guests::build(&workspace)?, host::Profile::Release)?;
            println!("{}", binary.display());
            Ok(())
        }
        [verb, ..] => anyhow::bail!("there is no {verb:?}; these are the verbs:\n{USAGE}"),
    }
}
