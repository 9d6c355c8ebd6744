//! A server in this process that answers as Stripe's API does: lists in pages, single objects, checkout sessions; and that fails when it
//! was told to. Its objects have the documented shapes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to the next request that comes.
pub(crate) enum Scripted {
    /// This status with these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection ends before an answer.
    Cut,
    /// The connection ends within the answer, after the request was carried out.
    CutWithin,
    /// Something changes first.
    After(Box<dyn FnOnce(&mut Objects) + Send>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
}

/// What the account has, by the path it is listed at.
#[derive(Default)]
pub(crate) struct Objects(BTreeMap<String, Vec<Value>>);

impl Objects {
    /// Adds one; a list is newest first, and of one second in the order of coming.
    pub(crate) fn add(&mut self, path: &str, object: Value) {
        let list = self.0.entry(path.to_owned()).or_default();
        list.insert(0, object);
        list.sort_by_key(|object| std::cmp::Reverse(object["created"].as_i64()));
    }

    /// Takes one away.
    pub(crate) fn remove(&mut self, path: &str, id: &str) {
        self.0.entry(path.to_owned()).or_default().retain(|object| object["id"] != id);
    }

    fn find(&self, path: &str) -> Option<&Value> {
        let (list, id) = path.rsplit_once('/')?;
        self.0.get(list)?.iter().find(|object| object["id"] == id)
    }

    fn page(&self, path: &str, query: &BTreeMap<String, String>) -> Result<Value, String> {
        let bound = |name: &str| query.get(name).map(|text| text.parse::<i64>().expect("an integer"));
        let (from, to) = (bound("created[gte]"), bound("created[lt]"));
        let empty = Vec::new();
        let all: Vec<&Value> = self.0.get(path).unwrap_or(&empty).iter().collect();
        let chosen: Vec<&Value> = all
            .into_iter()
            .filter(|object| {
                let created = object["created"].as_i64().expect("created");
                from.is_none_or(|from| created >= from)
                    && to.is_none_or(|to| created < to)
                    && query.get("payout").is_none_or(|payout| object["-payout"] == payout.as_str())
                    && query.get("delivery_success").is_none_or(|wanted| object["-delivered"] == (wanted == "true"))
            })
            .collect();
        let start = match query.get("starting_after") {
            None => 0,
            Some(after) => 1 + chosen.iter().position(|object| object["id"] == after.as_str()).ok_or_else(|| after.clone())?,
        };
        let limit = query.get("limit").map_or(10, |text| text.parse().expect("an integer"));
        assert!(limit <= 100, "the API gives at most 100 a page");
        let expand = query.get("expand[]").map(String::as_str) == Some("data.source");
        let data: Vec<Value> = chosen.iter().skip(start).take(limit).map(|object| shown(object, expand)).collect();
        Ok(json!({ "object": "list", "url": path, "has_more": start + data.len() < chosen.len(), "data": data }))
    }
}

/// An object without what only this server knows of it; its source whole, where that was asked for.
fn shown(object: &Value, expand: bool) -> Value {
    let mut object = object.clone();
    let fields = object.as_object_mut().expect("an object");
    let source = fields.get("-source").cloned();
    fields.retain(|name, _| !name.starts_with('-'));
    if let Some(source) = source.filter(|_| expand) {
        fields.insert("source".to_owned(), source);
    }
    object
}

#[derive(Default)]
struct State {
    objects: Objects,
    script: VecDeque<Scripted>,
    seen: Vec<Seen>,
    /// Added to every checkout: what must never happen.
    surcharge: i64,
    /// What every checkout looks like, and whether it says what was asked for.
    session: Option<(Value, bool)>,
    /// Answers to writes by their idempotency key, with what was sent.
    written: HashMap<String, (BTreeMap<String, String>, Value)>,
}

/// The server; it ends with the test.
pub(crate) struct StripeServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for StripeServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl StripeServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A client that goes away ends its connection and nothing else.
                    let _ = serve(stream, &state).await;
                });
            }
        });
        Self { address, state, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn add(&self, path: &str, object: Value) {
        self.state.lock().objects.add(path, object);
    }

    /// Changes one in place.
    pub(crate) fn change(&self, path: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock();
        let object = state.objects.0.get_mut(path).and_then(|list| list.iter_mut().find(|object| object["id"] == id));
        change(object.expect("it is there"));
    }

    pub(crate) fn script(&self, next: impl IntoIterator<Item = Scripted>) {
        self.state.lock().script.extend(next);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    /// From now on checkouts cost more than was asked for.
    pub(crate) fn surcharge(&self, amount: i64) {
        self.state.lock().surcharge = amount;
    }

    /// From now on checkouts have every field of this one; and say what they were asked for, unless they are not `filled` in.
    pub(crate) fn sessions_look_like(&self, session: Value, filled: bool) {
        self.state.lock().session = Some((session, filled));
    }

    /// How many different writes were carried out.
    pub(crate) fn written(&self) -> usize {
        self.state.lock().written.len()
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let request = read(&mut stream).await?;
    let scripted = {
        let mut state = state.lock();
        state.seen.push(request.clone());
        state.script.pop_front()
    };
    let answer = match scripted {
        Some(Scripted::Cut) => return Ok(()),
        Some(Scripted::Status(status, headers)) => {
            response(status, &headers, &json!({ "error": { "type": "api_error", "message": "as scripted" } }))
        }
        Some(Scripted::CutWithin) => {
            let mut whole = respond(&request, state);
            whole.truncate(whole.len() - 10);
            whole
        }
        Some(Scripted::After(change)) => {
            change(&mut state.lock().objects);
            respond(&request, state)
        }
        None => respond(&request, state),
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("text");
    let mut lines = head.split("\r\n");
    let mut first = lines.next().expect("a request line").split(' ');
    let (method, target) = (first.next().expect("a method").to_owned(), first.next().expect("a path").to_owned());
    let headers: BTreeMap<String, String> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |text| text.parse().expect("a length"));
    let mut body = bytes.split_off(head_end + 4);
    let already = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[already..]).await?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = form(query).chain(form(std::str::from_utf8(&body).expect("text")));
    Ok(Seen { method, path: path.to_owned(), fields: pairs.collect(), headers })
}

fn form(text: &str) -> impl Iterator<Item = (String, String)> {
    reqwest::Url::parse(&format!("http://x/?{text}")).expect("a query").query_pairs().into_owned().collect::<Vec<_>>().into_iter()
}

fn respond(request: &Seen, state: &Mutex<State>) -> Vec<u8> {
    let mut state = state.lock();
    if request.method == "POST" {
        return write(request, &mut state);
    }
    let is_list = request.path.matches('/').count() == 2 || state.objects.0.contains_key(&request.path);
    let missing = |what: &str| {
        let error = json!({ "error": { "type": "invalid_request_error", "code": "resource_missing", "message": format!("No such object: '{what}'") } });
        response(if is_list { 400 } else { 404 }, &[], &error)
    };
    if is_list {
        return match state.objects.page(&request.path, &request.fields) {
            Ok(page) => response(200, &[], &page),
            Err(unknown) => missing(&unknown),
        };
    }
    match state.objects.find(&request.path) {
        Some(object) => response(200, &[], &shown(object, false)),
        None => missing(&request.path),
    }
}

fn write(request: &Seen, state: &mut State) -> Vec<u8> {
    let key = request.headers.get("idempotency-key").expect("a write has an idempotency key").clone();
    if let Some((sent, answer)) = state.written.get(&key) {
        if *sent == request.fields {
            return response(200, &[("idempotent-replayed", "true".to_owned())], answer);
        }
        let error = json!({ "error": { "type": "idempotency_error", "message": "Keys for idempotent requests can only be used with the same parameters" } });
        return response(400, &[], &error);
    }
    let answer = if request.path.ends_with("/expire") {
        json!({ "id": "cs_test_0", "object": "checkout.session", "status": "expired" })
    } else {
        let asked = session(&request.fields, state.written.len(), state.surcharge);
        match &state.session {
            Some((like, true)) => overlaid(like, &asked),
            Some((like, false)) => like.clone(),
            None => asked,
        }
    };
    state.written.insert(key, (request.fields.clone(), answer.clone()));
    response(200, &[], &answer)
}

/// The fields of both; where both have one, the second's.
fn overlaid(under: &Value, over: &Value) -> Value {
    let fields = [under, over].into_iter().filter_map(Value::as_object).flatten();
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// A checkout session over what the fields say, with the totals that Stripe would work out.
fn session(fields: &BTreeMap<String, String>, number: usize, surcharge: i64) -> Value {
    let integer = |name: String| fields.get(&name).map(|text| text.parse::<i64>().expect("an integer"));
    let mut total = 0;
    for line in 0.. {
        let Some(amount) = integer(format!("line_items[{line}][price_data][unit_amount]")) else { break };
        total += amount * integer(format!("line_items[{line}][quantity]")).expect("a quantity");
    }
    let shipping = integer("shipping_options[0][shipping_rate_data][fixed_amount][amount]".to_owned()).unwrap_or(0);
    json!({
        "id": format!("cs_test_{number}"), "object": "checkout.session", "livemode": false, "status": "open", "payment_status": "unpaid",
        "url": format!("https://checkout.stripe.com/c/pay/cs_test_{number}"), "currency": fields["line_items[0][price_data][currency]"],
        "amount_subtotal": total, "amount_total": total + shipping + surcharge, "client_reference_id": fields.get("client_reference_id"),
        "adaptive_pricing": { "enabled": fields.get("adaptive_pricing[enabled]").is_none_or(|text| text == "true") },
        "payment_intent": null, "created": 1_700_000_000, "expires_at": 1_700_086_400, "metadata": {},
    })
}

fn response(status: u16, headers: &[(&str, String)], body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let mut head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}\r\n{body}").into_bytes()
}
