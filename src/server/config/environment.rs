//! Variables of the environment that look like settings and are none: misspelt ones, and those that Kubernetes and
//! Docker set for a service named npchat.

use std::ffi::OsStr;

use clap::Arg;

use super::command::{command, settings};
use super::values::Quoted;

/// What all variables of this program begin with.
const PREFIX: &str = "NPCHAT_";
/// Transports that an address of a service is given with (Docker's links, which Kubernetes keeps to).
const TRANSPORTS: [&str; 3] = ["tcp", "udp", "sctp"];

/// What is to be logged of these variables before the program goes on without them, each on one line.
pub fn warnings<N: AsRef<OsStr>, V: AsRef<OsStr>>(variables: impl IntoIterator<Item = (N, V)>) -> Vec<String> {
    let command = command();
    let known: Vec<_> = settings(&command)
        .filter_map(Arg::get_env)
        .filter_map(OsStr::to_str)
        .collect();
    let warning = |(name, value): (N, V)| warning(&name.as_ref().to_string_lossy(), value.as_ref(), &known);
    let mut warnings: Vec<_> = variables.into_iter().filter_map(warning).collect();
    warnings.sort_unstable();
    warnings
}

/// A question that suggests the known name that is nearest to this one, if any is near. `own` is the length of the name
/// in bytes without the prefix that all of them have.
pub(super) fn nearest<'a>(name: &str, own: usize, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|known| (strsim::osa_distance(name, known), known))
        .min()
        // So far apart, they have nothing to do with each other.
        .filter(|(distance, _)| *distance <= 1 + own / 4)
        .map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"))
}

/// Whether `value` is what is set for a service of that name, and not a port.
pub(super) fn is_service_address(value: &OsStr) -> bool {
    let scheme = value.to_str().and_then(|text| text.split_once("://"));
    scheme.is_some_and(|(scheme, _)| TRANSPORTS.contains(&scheme))
}

fn warning(name: &str, value: &OsStr, known: &[&str]) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let rest = upper.strip_prefix(PREFIX)?;
    if name == "NPCHAT_PORT" && is_service_address(value) {
        return Some(format!(
            "{name}: ignored, for {} is the address of a service named npchat, which Kubernetes sets \
             (enableServiceLinks: false in the pod turns that off), and no port: give the port with --port or \
             NPCHAT_LISTEN",
            Quoted(&value.to_string_lossy())
        ));
    }
    if known.contains(&name) || is_of_a_service(rest, value) {
        return None;
    }
    let tip = nearest(&upper, rest.len(), known.iter().copied());
    Some(format!("{name:?}: there is no such setting{tip}"))
}

/// Whether it is one of the variables that go with the address of a service whose name begins with npchat, such as
/// `npchat` itself or `npchat-web`.
fn is_of_a_service(rest: &str, value: &OsStr) -> bool {
    let rest = format!("_{rest}");
    rest.ends_with("_SERVICE_HOST")
        || rest.ends_with("_SERVICE_PORT")
        || rest.contains("_SERVICE_PORT_")
        || rest.ends_with("_PORT") && is_service_address(value)
        || rest.rsplit_once("_PORT_").is_some_and(|(_, port)| is_of_a_port(port))
}

/// Whether it is such as `8000_TCP` or `8000_TCP_ADDR`.
fn is_of_a_port(text: &str) -> bool {
    let Some((number, rest)) = text.split_once('_') else {
        return false;
    };
    let (transport, what) = rest.split_once('_').unwrap_or((rest, ""));
    number.bytes().all(|byte| byte.is_ascii_digit())
        && !number.is_empty()
        && TRANSPORTS.contains(&transport.to_ascii_lowercase().as_str())
        && ["", "PROTO", "PORT", "ADDR"].contains(&what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_told_with_the_nearest_that_is_known() {
        for (name, known) in [
            ("NPCHAT_PROT", "NPCHAT_PORT"),
            ("NPCHAT_MSGTTL", "NPCHAT_MSG_TTL"),
            ("NPCHAT_CLEANPERIOD", "NPCHAT_CLEAN_PERIOD"),
            ("NPCHAT_FRESH_KEY", "NPCHAT_FRESHKEY"),
            ("NPCHAT_MAILBOX_MESSAGE", "NPCHAT_MAILBOX_MESSAGES"),
            ("npchat_log", "NPCHAT_LOG"),
            ("NPCHAT_CERTIFICATE", ""),
            ("NPCHAT_DATABASE", ""),
            ("NPCHAT_", ""),
        ] {
            let tip = if known.is_empty() {
                String::new()
            } else {
                format!("; did you mean {known}?")
            };
            let expected = format!("\"{name}\": there is no such setting{tip}");
            assert_eq!(warnings([(name, "1")]), [expected]);
        }
    }

    #[test]
    fn what_is_known_or_of_other_programs_is_passed_over() {
        let command = command();
        let known = settings(&command).map(|setting| setting.get_env().unwrap().to_str().unwrap());
        assert!(
            warnings(
                known
                    .chain(["PATH", "NPCHATD", "MY_NPCHAT_PROT"])
                    .map(|name| (name, "1"))
            )
            .is_empty()
        );
    }

    #[test]
    fn a_service_named_npchat_gets_one_line_for_its_port_and_none_for_the_others() {
        let variables = [
            ("NPCHAT_SERVICE_HOST", "10.0.0.1"),
            ("NPCHAT_SERVICE_PORT", "8000"),
            ("NPCHAT_SERVICE_PORT_HTTP", "8000"),
            ("NPCHAT_PORT", "tcp://10.0.0.1:8000"),
            ("NPCHAT_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
            ("NPCHAT_PORT_8000_TCP_PROTO", "tcp"),
            ("NPCHAT_PORT_8000_TCP_PORT", "8000"),
            ("NPCHAT_PORT_8000_TCP_ADDR", "10.0.0.1"),
            ("NPCHAT_WEB_SERVICE_HOST", "10.0.0.2"),
            ("NPCHAT_WEB_PORT", "tcp://10.0.0.2:80"),
            ("NPCHAT_WEB_PORT_443_UDP_ADDR", "10.0.0.2"),
        ];
        let told = warnings(variables);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("NPCHAT_PORT: ignored, for \"tcp://10.0.0.1:8000\" is"),
            "{told:?}"
        );
        for (name, value) in [
            ("NPCHAT_PORT_8000_TCQ", "x"),
            ("NPCHAT_PORT__TCP", "x"),
            ("NPCHAT_WEB_PORT", "80"),
        ] {
            assert_eq!(warnings([(name, value)]).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_name_of_control_characters_stays_on_its_line() {
        let told = warnings([("NPCHAT_\n\u{1b}[31m", "")]);
        assert!(!told[0].contains(char::is_control), "{told:?}");
    }
}
