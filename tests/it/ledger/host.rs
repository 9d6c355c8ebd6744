//! The whole host with a key to a server that answers as Stripe does; and what of it only the whole host shows.

use serde_json::{Value, json};
use taskwarden::app::Host;
use taskwarden::clock::SystemClock;
use taskwarden::config::Config;

use super::KEY;
use super::server::StripeServer;

const CATALOGUE: &str = r#"
    [stripe.checkout]
    success_url = "https://shop.example/thanks"
    cancel_url = "https://shop.example/basket"
    [stripe.checkout.catalogue.products.shirt]
    title = "A shirt"
    currency = "eur"
    unit_amount = 2000
    unit_tax_amount = 380
    [stripe.checkout.catalogue.products.cap]
    title = "A cap"
    currency = "eur"
    unit_amount = 999
    [stripe.checkout.catalogue.shipping.post]
    title = "By post"
    currency = "eur"
    amount = 490
"#;

pub(crate) struct RunningHost {
    host: Host,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl RunningHost {
    pub(crate) async fn start(stripe: &StripeServer) -> Self {
        let api = format!(
            "[stripe.api]\nkey = \"{KEY}\"\nlivemode = false\nbase_url = \"{}\"\nsends_max = 2\nbackoff_base_ms = 1\nrequests_per_second = 1000\n",
            stripe.url()
        );
        Self::with(&format!("{api}{CATALOGUE}")).await
    }

    pub(crate) async fn without_a_key() -> Self {
        Self::with(CATALOGUE).await
    }

    async fn with(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n[auth]\nmode = \"loopback_open\"\n[runtime]\nslots = 2\n{settings}",
            folder.path().display().to_string()
        );
        let config = Config::assemble(Some(("test.toml", &text)), []).expect("a configuration");
        let host = Host::start(config, SystemClock::shared()).await.expect("a host");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { host, client, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host.address())
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.client.post(self.url(path)).json(body).send().await).await
    }

    pub(crate) async fn upload(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        answer(self.client.post(self.url(path)).body(body).send().await).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(self.url(path)).send().await).await
    }

    pub(crate) async fn stop(self) {
        self.host.stop().await;
    }
}

async fn answer(sent: reqwest::Result<reqwest::Response>) -> (u16, Value) {
    let response = sent.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

#[tokio::test]
async fn a_sync_is_a_task_like_any_other() {
    let stripe = StripeServer::start().await;
    for number in 0..3 {
        stripe.add("/v1/balance_transactions", super::sync::charge(number, 1_700_000_000 + number, None));
    }
    let host = RunningHost::start(&stripe).await;
    let (status, task) = host.post("/v1/tasks", &json!({ "task_type": "stripe.sync", "payload": {} })).await;
    assert_eq!(status, 201, "{task}");
    let (_, ended) = host.get(&format!("/v1/tasks/{}?wait=30s", task["id"].as_str().expect("an id"))).await;
    assert_eq!(
        (ended["outcome"].as_str(), ended["result"]["resources"]["balance_transactions"]["added"].as_u64()),
        (Some("succeeded"), Some(3)),
        "{ended}"
    );
    let (status, wrong) = host.post("/v1/tasks", &json!({ "task_type": "stripe.sync", "payload": { "resource": [] } })).await;
    assert_eq!(status, 201, "{wrong}");
    let (_, ended) = host.get(&format!("/v1/tasks/{}?wait=30s", wrong["id"].as_str().expect("an id"))).await;
    assert_eq!(ended["outcome"].as_str(), Some("invalid"), "{ended}");
    host.stop().await;
}

#[tokio::test]
async fn files_are_imported_over_the_api_and_what_is_wrong_with_them_can_be_read() {
    const REPORT: &str = "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id\n\
                          txn_1,2026-01-31 12:00:00,eur,30.00,0.59,29.41,charge,ch_1\n\
                          txn_2,2026-01-31 12:00:01,jpy,500,18,482,charge,ch_2\n\
                          txn_3,2026-01-31 12:00:02,eur,30.00,0.5";
    let host = RunningHost::without_a_key().await;
    let path = "/v1/admin/stripe/import?kind=balance_change_from_activity.itemized.3&mode=test&source=january.csv";
    let (status, report) = host.upload(path, REPORT).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!((report["added"].as_u64(), report["quarantined"].as_u64()), (Some(2), Some(1)), "{report}");
    assert_eq!(report["first_quarantined"][0]["line"], 4, "{report}");
    let (_, again) = host.upload(path, REPORT).await;
    assert_eq!((again["added"].as_u64(), again["unchanged"].as_u64()), (Some(0), Some(2)), "{again}");
    let (_, kept) = host.get("/v1/admin/stripe/quarantine?mode=test").await;
    let rows = kept["rows"].as_array().expect("rows");
    assert_eq!((rows.len(), rows[0]["source"].as_str()), (1, Some("upload january.csv")), "{kept}");
    assert!(rows[0]["row"].as_str().is_some_and(|row| row.starts_with("txn_3,")), "{kept}");
    let (_, live) = host.get("/v1/admin/stripe/quarantine?mode=live").await;
    assert_eq!(live["rows"], json!([]), "test data is nobody's money");
    for (path, field) in [
        ("/v1/admin/stripe/import?kind=payouts.itemized&mode=test", "body"),
        ("/v1/admin/stripe/import?kind=payouts&mode=test", "kind"),
        ("/v1/admin/stripe/import?kind=payouts.itemized", "mode"),
        ("/v1/admin/stripe/import?kind=payouts.itemized&mode=test&decimals=comma", "decimals"),
    ] {
        let (status, problem) = host.upload(path, REPORT).await;
        assert_eq!((status, problem["field"].as_str()), (422, Some(field)), "{problem}");
    }
    host.stop().await;
}
