//! What everybody would write: a handler of the same web framework that gives each client a channel, and one that
//! puts the event into all of them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::process::ExitCode;
use std::rc::Rc;

use actix_web::{App, HttpResponse, HttpServer, web};
use futures_util::stream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::floor::{BEGUN, CONNECTIONS};

/// The argument that makes this program the server.
pub(super) const MODE: &str = "--be-channels";
/// Connections that wait to be accepted.
const BACKLOG: u32 = 16 * 1024;

/// The clients of the only worker.
type Clients = Rc<RefCell<Vec<UnboundedSender<web::Bytes>>>>;

/// Runs the server: it says where it listens, and serves until it is killed.
pub(super) fn serve() -> ExitCode {
    tidegate::descriptors::make_room(CONNECTIONS);
    let app = || {
        let clients = Clients::default();
        App::new()
            .app_data(web::Data::new(clients))
            .route("/feed", web::get().to(follow))
            .route("/publish", web::post().to(publish))
            .route("/clients", web::delete().to(forget))
    };
    let server = HttpServer::new(app).workers(1).backlog(BACKLOG).max_connection_rate(CONNECTIONS);
    let server = server.max_connections(CONNECTIONS).bind("127.0.0.1:0").expect("a free port");
    println!("listening on http://{}", server.addrs()[0]);
    actix_web::rt::System::new().block_on(server.run()).expect("it runs until it is killed");
    ExitCode::SUCCESS
}

async fn follow(clients: web::Data<Clients>) -> HttpResponse {
    let (sender, receiver) = unbounded_channel();
    // The other end is right here.
    let _ = sender.send(web::Bytes::from_static(BEGUN));
    clients.borrow_mut().push(sender);
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(events)
}

async fn publish(clients: web::Data<Clients>, event: web::Bytes) -> HttpResponse {
    clients.borrow_mut().retain(|client| client.send(event.clone()).is_ok());
    HttpResponse::NoContent().finish()
}

async fn forget(clients: web::Data<Clients>) -> HttpResponse {
    clients.borrow_mut().clear();
    HttpResponse::NoContent().finish()
}
