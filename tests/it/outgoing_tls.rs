//! Requests over TLS: to a server whose certificate is signed by an authority of the test's own, which the host trusts or does not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// An authority that signs certificates; its own is in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        let file = folder.join(name);
        std::fs::write(&file, certificate.pem()).expect("written");
        Self { issuer: Issuer::new(params, key), file }
    }

    /// A server with a certificate for `localhost`; its port.
    async fn serve(&self) -> u16 {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("they belong together");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("localhost:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not like the certificate hangs up here.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nin secret").await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        port
    }
}

/// What a host that trusts `authority` alone says of a plugin that asks for `url`.
async fn asked(origin: &str, authority: &Authority, folder: &Path) -> Value {
    let plugin = folder.join("http.wasm");
    std::fs::write(&plugin, crate::guests::component("http")).expect("written");
    let mut command = Command::new(crate::host::binary());
    command.args(["plugin", "run"]).arg(&plugin).args(["--task-type", "test", "--json", "--http", origin]);
    command.args(["--payload", &json!({"do": "send", "method": "GET", "url": format!("{origin}/x")}).to_string()]);
    command.env("SSL_CERT_FILE", &authority.file).env_remove("SSL_CERT_DIR");
    let output = tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.expect("joined");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_counts_when_a_trusted_authority_signed_it_for_that_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (trusted, other) = (Authority::new(folder.path(), "trusted.pem"), Authority::new(folder.path(), "other.pem"));
    let port = trusted.serve().await;
    let good = asked(&format!("https://localhost:{port}"), &trusted, folder.path()).await;
    assert_eq!(good["outcome"], "succeeded", "{good}");
    assert_eq!((&good["result"]["status"], &good["result"]["body"]), (&json!(200), &json!("in secret")));
    let by_nobody = asked(&format!("https://localhost:{port}"), &other, folder.path()).await;
    let another_name = asked(&format!("https://127.0.0.1:{port}"), &trusted, folder.path()).await;
    for refused in [by_nobody, another_name] {
        assert_ne!(refused["outcome"], "succeeded", "{refused}");
        assert!(refused["error"].as_str().is_some_and(|error| error.to_lowercase().contains("tls")), "{refused}");
    }
}
