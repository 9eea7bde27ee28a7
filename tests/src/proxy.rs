//! A reverse proxy that adds a bearer token: the conformance suite sends none.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running proxy; ended when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub address: String,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes everything on to `upstream` (such as `http://127.0.0.1:7700`) and back as it comes, with the token added. Where Host and Origin name
/// the proxy they are made to name the upstream; forged ones stay as the client sent them.
pub async fn with_token(upstream: &str, token: Option<&str>) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let upstream = upstream.to_owned();
    let ports = [&address, &upstream].map(|url| url.rsplit(':').next().unwrap().to_owned());
    let bearer = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build_http();
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            let (client, upstream, bearer, ports) = (client.clone(), upstream.clone(), bearer.clone(), ports.clone());
            let service = service_fn(move |mut request| {
                rename(&mut request, &ports);
                pass(client.clone(), upstream.clone(), bearer.clone(), request)
            });
            tokio::spawn(async move {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    Proxy { address, task }
}

/// Puts the upstream's port where Host and Origin have the proxy's.
fn rename(request: &mut Request<Incoming>, [own, theirs]: &[String; 2]) {
    for name in [header::HOST, header::ORIGIN] {
        let Some(authority) = request.headers().get(&name).and_then(|value| value.to_str().ok()) else { continue };
        let Some(host) = authority.strip_suffix(own.as_str()).filter(|host| host.ends_with(':')) else { continue };
        let renamed = HeaderValue::from_str(&format!("{host}{theirs}")).unwrap();
        request.headers_mut().insert(name, renamed);
    }
}

async fn pass(
    client: Client<HttpConnector, Incoming>,
    upstream: String,
    bearer: Option<HeaderValue>,
    mut request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("{upstream}{path}").parse().unwrap();
    request.headers_mut().remove(header::CONNECTION);
    if let Some(bearer) = bearer {
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
    }
    Ok(match client.request(request).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(error) => {
            let body = Full::new(Bytes::from(error.to_string())).map_err(|never| match never {}).boxed();
            Response::builder().status(502).body(body).unwrap()
        }
    })
}
