//! The endpoint where nodes have their certificates signed: `POST /sign`, with the pod's token and a request as PEM.
//!
//! What is signed is decided by the token alone: the names are those of the pod that the API server says it is bound to, in
//! that pod's cluster. Of the request only its key is taken. Each replica of the operator serves it, also those that do not
//! hold the Lease; who signs is read from the API server each time.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State as Shared},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use dynamo_crd::DynamoCluster;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use kube::ResourceExt;
use rcgen::CertificateSigningRequestParams;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    AuthorityError,
    limits::Limits,
    names,
    objects::Objects,
    requester::{self, Refusal, Requester},
    serving::{Serving, wall_s},
};

/// A request is some hundred bytes.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// What is read of one that is larger, so that whoever sent it gets to know why it is refused.
const READ_BYTES_MAX: usize = 256 << 10;
/// A token is about a thousand.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// At the same time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 128;
/// Of a connection, from its beginning to its end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a pod: a node asks once in weeks, and again where the answer was lost.
const POD_BURST: u32 = 5;
const POD_EVERY: Duration = Duration::from_secs(30);
/// Of all, since each is a question to the API server: a thousand nodes that start at once have theirs in twenty seconds.
const ALL_BURST: u32 = 200;
const ALL_EVERY: Duration = Duration::from_millis(20);

/// What the endpoint needs.
pub struct Signer {
    client: kube::Client,
    began: Instant,
    pods: Mutex<Limits>,
    all: Mutex<Limits>,
}

/// An answer that is no certificate.
struct Refused {
    status: StatusCode,
    why: String,
}

impl Refused {
    fn new(status: StatusCode, why: impl Into<String>) -> Refused {
        Refused { status, why: why.into() }
    }

    /// For the metric.
    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "token",
            StatusCode::FORBIDDEN => "no_node",
            StatusCode::TOO_MANY_REQUESTS => "too_often",
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => "bad_request",
            _ => "not_now",
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, format!("{}\n", self.why)).into_response()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let status = match &refusal {
            Refusal::Unknown(_) => StatusCode::UNAUTHORIZED,
            Refusal::NoNode(_) => StatusCode::FORBIDDEN,
            Refusal::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, refusal.to_string())
    }
}

impl From<AuthorityError> for Refused {
    fn from(error: AuthorityError) -> Refused {
        tracing::warn!("the signer can't sign: {error}");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the operator can't sign now: ask again")
    }
}

/// Serves the port until `stop` ends.
///
/// # Errors
/// The port can't be had.
pub async fn serve(
    listen: SocketAddr,
    serving: Arc<Serving>,
    client: kube::Client,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    serve_at(listener, serving, client, stop).await
}

/// The same, where somebody has the port already.
///
/// # Errors
/// What rustls says of the certificate.
pub async fn serve_at(
    listener: TcpListener,
    serving: Arc<Serving>,
    client: kube::Client,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(serving.config()?);
    let router = router(client);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async {
        loop {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (acceptor, router) = (acceptor.clone(), router.clone());
                    tokio::spawn(async move {
                        // What fails here is a stranger's handshake or a lost connection: there is nobody to tell.
                        let _ = timeout(PATIENCE, connection(stream, acceptor, router)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("the signer's port can't accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    Ok(())
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) -> anyhow::Result<()> {
    let stream = acceptor.accept(stream).await?;
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    Ok(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await?)
}

fn router(client: kube::Client) -> Router {
    let signer = Signer {
        client,
        began: Instant::now(),
        pods: Mutex::new(Limits::new(POD_BURST, POD_EVERY)),
        all: Mutex::new(Limits::new(ALL_BURST, ALL_EVERY)),
    };
    Router::new().route("/sign", post(sign)).fallback(nothing).with_state(Arc::new(signer))
}

async fn nothing() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "there is only POST /sign here")
}

async fn sign(Shared(signer): Shared<Arc<Signer>>, request: Request) -> Result<Response, Infallible> {
    Ok(match signer.signed(request).await {
        Ok(certificate) => {
            metrics::counter!("dynamo_operator_signed_total", "outcome" => "signed").increment(1);
            let pem = [(header::CONTENT_TYPE, "application/x-pem-file")];
            (StatusCode::OK, pem, certificate).into_response()
        }
        Err(refused) => {
            metrics::counter!("dynamo_operator_signed_total", "outcome" => refused.kind()).increment(1);
            refused.into_response()
        }
    })
}

impl Signer {
    async fn signed(&self, request: Request) -> Result<String, Refused> {
        let token = token(request.headers())?;
        let body = body(request.into_body()).await?;
        let asked = CertificateSigningRequestParams::from_pem(&body).map_err(|error| {
            Refused::new(StatusCode::BAD_REQUEST, format!("this is no certificate request as PEM: {error}"))
        })?;
        self.limit(&self.all, "", "too many nodes ask at once: ask again")?;
        let holder = requester::review(&self.client, &token).await?;
        self.limit(&self.pods, &holder.uid, "this pod has asked too often: ask again in a minute")?;
        let requester = requester::look_up(&self.client, &holder).await?;
        let certificate = self.certificate(&requester, &asked).await?;
        tracing::info!(
            cluster = requester.cluster.name_any(),
            namespace = holder.namespace,
            pod = requester.pod,
            "signed a certificate"
        );
        Ok(certificate)
    }

    async fn certificate(
        &self,
        requester: &Requester,
        asked: &CertificateSigningRequestParams,
    ) -> Result<String, Refused> {
        let cluster: &DynamoCluster = &requester.cluster;
        let not_now = |why: &str| Refused::new(StatusCode::SERVICE_UNAVAILABLE, why);
        let state = Objects::of(&self.client, cluster)?.read().await?;
        let authority = state.signer().ok_or_else(|| not_now("no authority of this cluster signs yet: ask again"))?;
        let leaf = names::node(cluster, &requester.called, &requester.pod, &requester.zone);
        let signed = authority.sign(&asked.public_key, &leaf, wall_s());
        signed.map_err(|why| AuthorityError::from(why).into())
    }

    fn limit(&self, limits: &Mutex<Limits>, who: &str, why: &str) -> Result<(), Refused> {
        let taken = limits.lock().unwrap_or_else(PoisonError::into_inner).take(who, self.began.elapsed());
        if taken { Ok(()) } else { Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, why)) }
    }
}

fn token(headers: &HeaderMap) -> Result<String, Refused> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|given| given.strip_prefix("Bearer ")).map(str::trim);
    match token {
        Some(token) if !token.is_empty() && token.len() <= TOKEN_BYTES_MAX => Ok(token.to_owned()),
        _ => Err(Refused::new(StatusCode::UNAUTHORIZED, "there is no bearer token: send the pod's own")),
    }
}

async fn body(body: Body) -> Result<String, Refused> {
    let too_large = || {
        let why = format!("a certificate request has at most {REQUEST_BYTES_MAX} bytes");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    let bytes = to_bytes(body, READ_BYTES_MAX).await.map_err(|_| too_large())?;
    if bytes.len() > REQUEST_BYTES_MAX {
        return Err(too_large());
    }
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "this is no certificate request as PEM"))
}
