//! What options have to do with each other: the one place where a contradiction between them is found.

use super::error::ConfigError;
use super::given::Given;
use super::listen::{Listen, Scheme};
use super::settings::Config;
use crate::server::limits;

/// Numbers of which the first has to fit into the second, with what that needs beside the first, given the first.
type Fit = (&'static str, &'static str, fn(&Config) -> [u64; 2]);

const FITS: [Fit; 3] = [
    ("msgttl", "max-ttl", |config| {
        [config.message_ttl.as_secs(), config.max_ttl.as_secs()]
    }),
    ("max-message", "mailbox-bytes", |config| {
        [config.max_message.into(), config.mailbox_bytes.into()]
    }),
    ("max-message", "memory", |config| {
        let message = u64::from(config.max_message);
        [message + message / 8 + limits::MESSAGE_ROOM_BYTES, config.memory]
    }),
];

/// Checks the options against each other. Blames the one that was given: a default is nobody's fault.
pub(super) fn check(config: &Config, given: &[Given]) -> Result<(), ConfigError> {
    let origin = |name: &str| find(given, name).map(|given| given.origin.clone());
    let blame = |name: &str| origin(name).unwrap_or_else(|| format!("--{name}"));
    if let Listen::Addresses(endpoints) = &config.listen {
        let needs_one = endpoints.iter().find(|endpoint| endpoint.scheme == Some(Scheme::Https));
        let problem = match (endpoints.is_empty(), needs_one) {
            (true, _) => Some("at least one address is needed".to_owned()),
            (false, Some(endpoint)) if config.certificate.is_none() => {
                Some(format!("{endpoint} needs --cert and --privkey"))
            }
            (false, _) => None,
        };
        if let Some(problem) = problem {
            return Err(ConfigError(format!("{}: {problem}", blame("listen"))));
        }
    }
    let shown = config.shown();
    let text = |name| {
        shown
            .iter()
            .find(|(other, _)| *other == name)
            .map_or("", |(_, text)| text)
    };
    for (inner, outer, numbers) in FITS {
        let [needed, there] = numbers(config);
        if needed <= there {
            continue;
        }
        let (inner_text, outer_text) = (text(inner), text(outer));
        return Err(ConfigError(match (origin(inner), origin(outer)) {
            (None, Some(blamed)) => format!("{blamed}: {outer_text} is too little for --{inner} of {inner_text}"),
            _ => format!(
                "{}: {inner_text} is too much for --{outer} of {outer_text}",
                blame(inner)
            ),
        }));
    }
    Ok(())
}

/// Settles what depends on whether another option was given at all, before any of it is parsed. A certificate and its
/// key come together, whatever each one's source. Port and addresses are two ways to give one thing, and the one from
/// the stronger source stands.
pub(super) fn settle(given: &mut Vec<Given>) -> Result<(), ConfigError> {
    for (name, other, variable) in [
        ("cert", "privkey", "NPCHAT_PRIVKEY"),
        ("privkey", "cert", "NPCHAT_CERT"),
    ] {
        if let (Some(alone), None) = (find(given, name), find(given, other)) {
            return Err(alone.wrong(format!("needs --{other} ({variable}) too")));
        }
    }
    let (Some(port), Some(listen)) = (find(given, "port"), find(given, "listen")) else {
        return Ok(());
    };
    if port.source == listen.source {
        return Err(listen.wrong(format!("excludes {}, give one of them", port.origin)));
    }
    let weaker = if port.source > listen.source { "listen" } else { "port" };
    given.retain(|given| given.name != weaker);
    Ok(())
}

fn find<'a>(given: &'a [Given], name: &str) -> Option<&'a Given> {
    given.iter().find(|given| given.name == name)
}
