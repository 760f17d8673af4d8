//! Puts together what was given: a flag beats the environment, which beats the default.
//!
//! The arguments and the environment are parameters: nothing here looks at the process.

use std::ffi::OsString;
use std::path::PathBuf;

use super::environment::is_service_address;
use super::settings::{Key, SETTINGS, Setting};
use super::{CertificateFiles, Config, ConfigError, Listen, values};

impl Config {
    /// Takes what the flags and the environment say of each setting, and fills up with the defaults.
    ///
    /// An empty variable counts as unset, and so does a port that is the address of a service. A flag that is given
    /// several times comes as one text with commas.
    ///
    /// # Errors
    ///
    /// The first setting that isn't UTF-8, isn't a value of its kind, is out of its range or contradicts another.
    pub fn resolve(
        flags: impl Fn(&Setting) -> Option<OsString>,
        environment: impl Fn(&Setting) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let given = Given(
            SETTINGS
                .each_ref()
                .map(|setting| Value::find(setting, &flags, &environment)),
        );
        let mut config = Self::default();
        for setting in &SETTINGS {
            if let (Some(number), Some(value)) = (&setting.number, given.value(setting.key)) {
                (number.set)(&mut config, value.parse(|text| number.parse(text))?);
            }
        }
        if let Some(value) = given.value(Key::Log) {
            config.log = value.parse(values::level)?;
        }
        if let Some(value) = given.value(Key::Host) {
            config.hosts = value.parse(values::hosts)?;
        }
        if let Some(listen) = given.listen()? {
            config.listen = listen;
        }
        config.certificate = given.certificate()?;
        config.check(|key| given.value(key).map(|value| value.name))?;
        Ok(config)
    }
}

/// What was given for each setting, at the index of its key.
struct Given([Option<Value>; SETTINGS.len()]);

impl Given {
    fn value(&self, key: Key) -> Option<&Value> {
        self.0[key as usize].as_ref()
    }

    /// Port and addresses are two ways to say one thing, so a flag for either beats a variable for the other.
    fn listen(&self) -> Result<Option<Listen>, ConfigError> {
        let (port, addresses) = match (self.value(Key::Port), self.value(Key::Listen)) {
            (Some(port), Some(addresses)) if port.origin == addresses.origin => {
                return Err(addresses.wrong(format!("excludes {}, give one of them", port.name)));
            }
            (Some(port), Some(_)) if port.origin == Origin::Flag => (Some(port), None),
            given => given,
        };
        if let Some(addresses) = addresses {
            return addresses.parse(values::endpoints).map(Listen::Addresses).map(Some);
        }
        port.map(|port| {
            Ok(Listen::Default {
                port: port.parse(values::port)?,
            })
        })
        .transpose()
    }

    fn certificate(&self) -> Result<Option<CertificateFiles>, ConfigError> {
        match (self.value(Key::Certificate), self.value(Key::PrivateKey)) {
            (Some(certificate), Some(private_key)) => Ok(Some(CertificateFiles {
                certificate: certificate.path()?,
                private_key: private_key.path()?,
            })),
            (Some(certificate), None) => Err(certificate.needs(Key::PrivateKey)),
            (None, Some(private_key)) => Err(private_key.needs(Key::Certificate)),
            (None, None) => Ok(None),
        }
    }
}

/// What was given for one setting, where, and under which name.
struct Value {
    name: &'static str,
    origin: Origin,
    text: OsString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Flag,
    Environment,
}

impl Value {
    fn find(
        setting: &Setting,
        flags: &impl Fn(&Setting) -> Option<OsString>,
        environment: &impl Fn(&Setting) -> Option<OsString>,
    ) -> Option<Self> {
        if let Some(text) = flags(setting) {
            return Some(Self {
                name: setting.flag,
                origin: Origin::Flag,
                text,
            });
        }
        let is_foreign = |text: &OsString| setting.key == Key::Port && is_service_address(text);
        let text = environment(setting).filter(|text| !text.is_empty() && !is_foreign(text))?;
        Some(Self {
            name: setting.variable,
            origin: Origin::Environment,
            text,
        })
    }

    fn parse<T>(&self, parser: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        let text = self
            .text
            .to_str()
            .ok_or_else(|| self.wrong(format!("{:?} is not UTF-8", self.text.to_string_lossy())))?;
        parser(text).map_err(|problem| self.wrong(problem))
    }

    /// A file's name needn't be UTF-8.
    fn path(&self) -> Result<PathBuf, ConfigError> {
        if self.text.is_empty() {
            return Err(self.wrong("the file's name is empty".to_owned()));
        }
        Ok(PathBuf::from(&self.text))
    }

    fn needs(&self, other: Key) -> ConfigError {
        let Setting { flag, variable, .. } = other.setting();
        self.wrong(format!("needs {flag} ({variable}) too"))
    }

    fn wrong(&self, problem: String) -> ConfigError {
        ConfigError {
            name: self.name,
            problem,
        }
    }
}
