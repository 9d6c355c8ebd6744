//! A host does not start where strangers could call it.

use std::process::{Command, Stdio};

use super::process::{HostProcess, binary};

fn refused(data: &std::path::Path, listen: &str, mode: &str) -> String {
    let output = Command::new(binary())
        .args(["serve", "--listen", listen, "--data"])
        .arg(data)
        .env("TASKWARDEN_AUTH__MODE", mode)
        .stdin(Stdio::null())
        .output()
        .expect("the host starts");
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "it never listened");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn other_addresses_need_tokens() {
    let data = tempfile::tempdir().expect("a folder");
    let open = refused(data.path(), "0.0.0.0:0", "loopback_open");
    assert!(open.contains("not a loopback address") && open.contains("auth.mode"), "{open}");
    let without = refused(data.path(), "0.0.0.0:0", "tokens");
    assert!(without.contains("taskwarden token create"), "{without}");
}

#[test]
fn tokens_are_made_without_a_host_and_printed_alone() {
    let data = tempfile::tempdir().expect("a folder");
    let output =
        Command::new(binary()).args(["token", "create", "--scope", "submit,read", "--data"]).arg(data.path()).output().expect("starts");
    let token = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(token.starts_with("tw_") && token.trim_end().len() == 67 && token.lines().count() == 1, "{token:?}");
    let list = Command::new(binary()).args(["token", "list", "--json", "--data"]).arg(data.path()).output().expect("starts");
    let list = String::from_utf8(list.stdout).expect("UTF-8");
    assert!(list.contains("\"submit\"") && !list.contains(token.trim()), "a list never shows a token: {list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_can_be_made_at_the_moment_in_which_a_host_makes_the_database() {
    for _ in 0..6 {
        let data = tempfile::tempdir().expect("a folder");
        let tokens: Vec<_> = (0..3)
            .map(|_| {
                let mut command = Command::new(binary());
                command.args(["token", "create", "--scope", "admin", "--data"]).arg(data.path());
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
            })
            .collect();
        let host = HostProcess::start(data.path(), &[]);
        for token in tokens {
            let output = token.wait_with_output().expect("ends");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout.starts_with(b"tw_"));
        }
        let listed = host.get("/v1/admin/tokens").await;
        assert_eq!(listed["tokens"].as_array().map(Vec::len), Some(3), "{listed}");
        assert_eq!(host.terminate(), Some(0));
    }
}
