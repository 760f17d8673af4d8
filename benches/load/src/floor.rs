//! The floor: what reading and writing alone cost on this machine, for a server that checks and keeps nothing.
//!
//! It takes only the load that this program makes, and runs as a process of its own, to be measured like any server.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::{process, thread};

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use npchat::server::system;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::child::{Child, report};
use crate::peer::Peer;
use crate::session::{ACCEPT, write_frame};

/// The hidden scenario under which the child runs.
const SCENARIO: &str = "floor-server";

const LISTENER: Token = Token(usize::MAX);
const SCRATCH_BYTES: usize = 64 * 1024;
const ID_BYTES: usize = 43;
const HEAD_END: &[u8] = b"\r\n\r\n";
/// As long as the server's.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: TTL\r\n\
    Content-Type: application/json\r\nContent-Length: 18\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nTTL: 5\r\n\
    Connection: keep-alive\r\nKeep-Alive: timeout=75\r\n\r\n{\"message\":\"sent\"}";

/// What the child is to do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct FloorBrief {
    /// Writes each message to the session that has registered for its path; otherwise it does nothing with it.
    pub(crate) is_relay: bool,
    /// Bytes of a message.
    pub(crate) size: usize,
    pub(crate) loops: usize,
}

/// A floor that runs in a child process, until this is dropped.
pub(crate) struct Floor {
    child: Child<SocketAddr>,
    address: SocketAddr,
}

impl Floor {
    /// Starts a floor for messages of `size` bytes, with as many threads as the server has workers, or the machine
    /// cores if it calls them by another name.
    pub(crate) fn start(is_relay: bool, size: usize, workers: usize) -> Result<Self, String> {
        let loops = if workers > 0 { workers } else { system::cores() };
        let child = Child::start(SCENARIO, &FloorBrief { is_relay, size, loops }).map_err(|error| error.to_string())?;
        let address = child.wait_for_report().map_err(|why| format!("the floor: {why}"))?;
        Ok(Self { child, address })
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::floor(self.address, self.child.process())
    }
}

/// Runs the floor in this process until its parent is gone.
pub(crate) fn serve(brief: FloorBrief) -> io::Result<()> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sessions = Arc::new(Sessions::default());
    for _ in 0..brief.loops {
        let listener = listen(address)?;
        address = listener.local_addr()?;
        let mut floor = Loop::new(brief, listener, Arc::clone(&sessions))?;
        thread::spawn(move || {
            if let Err(error) = floor.run() {
                eprintln!("npchat-bench: the floor: {error}");
                process::exit(1);
            }
        });
    }
    report(&address);
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into()))
}

type Sessions = RwLock<HashMap<[u8; ID_BYTES], Arc<TcpStream>>>;

struct Loop {
    brief: FloorBrief,
    poll: Poll,
    listener: TcpListener,
    lines: Vec<Option<Line>>,
    sessions: Arc<Sessions>,
    frame: Vec<u8>,
    answers: Vec<u8>,
}

struct Line {
    socket: Arc<TcpStream>,
    /// The start of a request.
    input: Vec<u8>,
}

impl Loop {
    fn new(brief: FloorBrief, mut listener: TcpListener, sessions: Arc<Sessions>) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            brief,
            poll,
            listener,
            lines: Vec::new(),
            sessions,
            frame: Vec::new(),
            answers: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; SCRATCH_BYTES];
        loop {
            match self.poll.poll(&mut events, None) {
                // The process was stopped for a while.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let Some(mut line) = self.lines.get_mut(event.token().0).and_then(Option::take) else {
                    continue;
                };
                if self.read(&mut line, &mut scratch)? {
                    self.lines[event.token().0] = Some(line);
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let token = Token(self.lines.len());
            self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
            self.lines.push(Some(Line {
                socket: Arc::new(socket),
                input: Vec::new(),
            }));
        }
    }

    /// Reads what there is and answers it with one write. Returns whether the connection goes on.
    fn read(&mut self, line: &mut Line, scratch: &mut [u8]) -> io::Result<bool> {
        loop {
            let count = match (&*line.socket).read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            };
            if line.input.is_empty() {
                let used = self.take(&scratch[..count], line)?;
                line.input.extend_from_slice(&scratch[used..count]);
            } else {
                line.input.extend_from_slice(&scratch[..count]);
                let input = std::mem::take(&mut line.input);
                let used = self.take(&input, line)?;
                line.input.extend_from_slice(&input[used..]);
            }
            write_whole(&line.socket, &self.answers)?;
            self.answers.clear();
            if count < scratch.len() {
                return Ok(true);
            }
        }
    }

    /// Takes whole requests off the front of the input. Returns how much that was.
    fn take(&mut self, input: &[u8], line: &Line) -> io::Result<usize> {
        let mut used = 0;
        while let Some(end) = memmem::find(&input[used..], HEAD_END) {
            let head = &input[used..used + end];
            let body_start = used + end + HEAD_END.len();
            if let Some(id) = id_after(b"GET /", head) {
                self.register(id, line);
                used = body_start;
            } else {
                let Some(body) = input.get(body_start..body_start + self.brief.size) else {
                    break;
                };
                if self.brief.is_relay {
                    self.forward(id_after(b"POST /", head), body)?;
                }
                self.answers.extend_from_slice(ANSWER);
                used = body_start + self.brief.size;
            }
        }
        Ok(used)
    }

    fn register(&mut self, id: &[u8; ID_BYTES], line: &Line) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(*id, Arc::clone(&line.socket));
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        );
        self.answers.extend_from_slice(answer.as_bytes());
    }

    fn forward(&mut self, id: Option<&[u8; ID_BYTES]>, body: &[u8]) -> io::Result<()> {
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = id.and_then(|id| sessions.get(id)) else {
            return Err(io::Error::other("a message for nobody"));
        };
        self.frame.clear();
        write_frame(&mut self.frame, OpCode::Data(Data::Text), true, None, body);
        write_whole(session, &self.frame)
    }
}

fn id_after<'h>(start: &[u8], head: &'h [u8]) -> Option<&'h [u8; ID_BYTES]> {
    head.strip_prefix(start)?.first_chunk()
}

/// The floor has no queues: its sockets have room for all that this program has in flight.
fn write_whole(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    match socket.write(bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::other("a socket is full")),
        // Its client has ended, and reports what there is to report.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(()),
        Err(error) => Err(error),
    }
}
