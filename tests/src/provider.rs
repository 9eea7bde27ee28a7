//! A real OpenID provider (`oidc-provider`) beside a test, over TLS, and the browser of whoever logs in there.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::authority::Authority;
use crate::place;
use crate::program::{Server, command};

/// The running provider; ended when dropped.
#[derive(Debug)]
pub struct Provider {
    /// Its identifier, a URL.
    pub url: String,
    authority: Authority,
    folder: TempDir,
    _server: Server,
}

impl Provider {
    /// Starts it; its access tokens count for so many seconds.
    pub async fn start(seconds: u32) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.issue();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file.to_string_lossy().into_owned()
        };
        write("ca.pem", &authority.pem());
        let script = place::clients("provider.mjs").to_string_lossy().into_owned();
        let args = [script, write("server.pem", &certificate), write("server.key", &key), seconds.to_string()];
        place::node_package("oidc-provider/package.json");
        let mut node = command(place::node(), args);
        if let Ok(log) = std::fs::File::create(folder.path().join("stderr.log")) {
            node.stderr(log);
        }
        let server = Server::start(node).await;
        Self { url: server.address.clone(), authority, folder, _server: server }
    }

    /// The authorities that vouch for it, in PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs with another key from now on, and vouches for the old one no longer.
    pub async fn turn_keys(&self) {
        let page = self.browser("nobody").send(Method::POST, &format!("{}/test/rotate", self.url), "").await;
        assert_eq!(page.status, StatusCode::NO_CONTENT);
    }

    /// How often tokens were given for this grant.
    pub async fn given(&self, grant: &str) -> u64 {
        let page = self.browser("nobody").send(Method::GET, &format!("{}/test/seen", self.url), "").await;
        serde_json::from_str::<Value>(&page.text).unwrap()[grant].as_u64().unwrap_or_default()
    }

    /// The browser of this user, who has not logged in yet.
    pub fn browser(&self, user: &str) -> Browser {
        let (roots, cookies) = (self.authority.roots(), HashMap::new());
        Browser { roots, cookies, user: user.to_owned(), agrees: true }
    }
}

/// What a browser shows.
#[derive(Debug)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub text: String,
    next: Option<String>,
}

/// Where a browser ended up.
#[derive(Debug)]
pub enum End {
    /// It was sent on to a program of its own machine, and didn't go there yet.
    Local(String),
    /// It shows this.
    Page(Page),
}

impl End {
    /// Where it was sent.
    pub fn local(self) -> String {
        match self {
            Self::Local(place) => place,
            Self::Page(page) => panic!("it shows {}: {}", page.status, page.text),
        }
    }
}

/// A browser: keeps cookies, follows redirects, fills in forms.
#[derive(Debug)]
pub struct Browser {
    roots: RootCertStore,
    cookies: HashMap<String, String>,
    user: String,
    agrees: bool,
}

impl Browser {
    /// Of somebody who says no.
    pub fn refusing(mut self) -> Self {
        self.agrees = false;
        self
    }

    /// Goes there, and on through all pages that ask for something.
    pub async fn walk(&mut self, place: &str) -> End {
        let mut at = Url::parse(place).unwrap();
        let mut page = self.send(Method::GET, place, "").await;
        let mut said_no = false;
        for _ in 0..30 {
            if let Some(next) = &page.next {
                at = at.join(next).unwrap();
                if at.scheme() == "http" {
                    return End::Local(at.to_string());
                }
                page = self.send(Method::GET, at.as_str(), "").await;
            } else if let (false, Some(no)) = (self.agrees, link(&page.text, "/abort")) {
                at = at.join(&no).unwrap();
                said_no = true;
                page = self.send(Method::GET, at.as_str(), "").await;
            } else if let (false, Some((action, fields))) = (said_no, form(&page.text, &self.user)) {
                at = at.join(&action).unwrap();
                page = self.send(Method::POST, at.as_str(), &fields).await;
            } else {
                return End::Page(page);
            }
        }
        panic!("{} asks for ever: {}", at.path(), page.text)
    }

    /// One request, as it is.
    pub async fn send(&mut self, method: Method, place: &str, body: &str) -> Page {
        let url = Url::parse(place).unwrap();
        let address = format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap());
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{query}", url.path()))
            .header(header::HOST, &address)
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let socket = TcpStream::connect(&address).await.unwrap();
        let answer = if url.scheme() == "https" {
            let config =
                rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_root_certificates(self.roots.clone())
                    .with_no_client_auth();
            let name = ServerName::try_from(url.host_str().unwrap().to_owned()).unwrap();
            exchange(TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap(), request).await
        } else {
            exchange(socket, request).await
        };
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
            if value.is_empty() {
                self.cookies.remove(name);
            }
        }
        let next = answer.headers().get(header::LOCATION).map(|place| place.to_str().unwrap().to_owned());
        let status = answer.status();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        Page { status, text: String::from_utf8_lossy(&text).into_owned(), next }
    }
}

async fn exchange<S>(socket: S, request: Request<Full<Bytes>>) -> http::Response<hyper::body::Incoming>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

/// Where the first form of a page goes to, and its fields, filled in.
fn form(page: &str, user: &str) -> Option<(String, String)> {
    let form = &page[page.find("<form")?..];
    let form = &form[..form.find("</form>")?];
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    for input in form.split("<input").skip(1) {
        let input = &input[..input.find('>')?];
        let Some(name) = attribute(input, "name") else { continue };
        let value = match name.as_str() {
            "login" => user.to_owned(),
            "password" => "a password".to_owned(),
            _ => attribute(input, "value").unwrap_or_default(),
        };
        fields.append_pair(&name, &value);
    }
    Some((attribute(form, "action")?, fields.finish()))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split(&format!(" {name}=\"")).nth(1)?;
    Some(value.split('"').next()?.to_owned())
}

/// The first link of a page that ends so.
fn link(page: &str, end: &str) -> Option<String> {
    page.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .find(|to| to.ends_with(end))
        .map(str::to_owned)
}
