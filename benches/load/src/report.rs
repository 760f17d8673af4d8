//! What a scenario came to, as a table for people and as JSON for programs.
//!
//! A figure's name is its key in both, its unit last in it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::faults::Faults;
use crate::latency_histogram::LatencyHistogram;

/// Columns of figures side by side.
const COLUMNS: usize = 4;
const COLUMN_WIDTH: usize = 14;

/// All that is reported in the end.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    scenario: &'static str,
    #[serde(rename = "measured", serialize_with = "by_section")]
    sections: Vec<Section>,
    /// Server against floor, or the like.
    #[serde(serialize_with = "in_order")]
    ratios: Vec<(&'static str, f64)>,
    /// What was wrong, of all.
    #[serde(flatten)]
    pub(crate) faults: Faults,
}

/// Figures of one thing that was measured.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Section {
    #[serde(skip)]
    name: String,
    #[serde(serialize_with = "in_order")]
    figures: Vec<(String, Figure)>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
enum Figure {
    Count(u64),
    Measure(f64),
}

fn by_section<S: Serializer>(sections: &[Section], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(sections.iter().map(|section| (&section.name, section)))
}

fn in_order<S: Serializer, N: Serialize, V: Serialize>(pairs: &[(N, V)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

impl Report {
    /// Of a scenario in which nothing was measured yet.
    pub(crate) fn new(scenario: &'static str) -> Self {
        Self {
            scenario,
            sections: Vec::new(),
            ratios: Vec::new(),
            faults: Faults::default(),
        }
    }

    pub(crate) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// How many times the one the other is.
    pub(crate) fn compare(&mut self, name: &'static str, ratio: f64) {
        self.ratios.push((name, ratio));
    }
}

impl Section {
    /// Of the thing called so.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            figures: Vec::new(),
        }
    }

    pub(crate) fn count(&mut self, name: &str, count: u64) {
        self.figures.push((name.to_owned(), Figure::Count(count)));
    }

    pub(crate) fn measure(&mut self, name: &str, value: f64) {
        self.figures.push((name.to_owned(), Figure::Measure(value)));
    }

    /// The percentiles, unless there are none.
    pub(crate) fn latencies(&mut self, name: &str, latencies: &LatencyHistogram) {
        if latencies.count() > 0 {
            for (percentile, quantile) in LatencyHistogram::REPORTED {
                self.count(&format!("{name}_{percentile}_micros"), latencies.quantile(quantile));
            }
        }
    }

    fn figure(&self, name: &str) -> Option<Figure> {
        self.figures
            .iter()
            .find(|(its, _)| its == name)
            .map(|(_, figure)| *figure)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for columns in self.sections.chunks(COLUMNS) {
            let mut names: Vec<&str> = Vec::new();
            for (name, _) in columns.iter().flat_map(|section| &section.figures) {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
            let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
            write!(f, "{:width$}", self.scenario)?;
            for section in columns {
                write!(f, "  {:>COLUMN_WIDTH$}", section.name)?;
            }
            writeln!(f)?;
            for name in names {
                write!(f, "{:width$}", name.replace('_', " "))?;
                for section in columns {
                    match section.figure(name) {
                        Some(figure) => write!(f, "  {:>COLUMN_WIDTH$}", figure.to_string())?,
                        None => write!(f, "  {:COLUMN_WIDTH$}", "")?,
                    }
                }
                writeln!(f)?;
            }
        }
        for (name, ratio) in &self.ratios {
            writeln!(f, "{}: {ratio:.3}", name.replace('_', " "))?;
        }
        write!(f, "{}", self.faults)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Measure(value) if value.abs() >= 1000.0 => write!(f, "{value:.0}"),
            Self::Measure(value) => write!(f, "{value:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::faults::Fault;

    fn report() -> Report {
        let mut report = Report::new("store");
        let mut latencies = LatencyHistogram::default();
        latencies.add(Duration::from_micros(70));
        for (name, cost) in [("floor before", 5.0), ("server", 5.5)] {
            let mut section = Section::new(name);
            section.measure("server_cpu_micros_per_message", cost);
            section.latencies("answer", &latencies);
            if name == "server" {
                section.count("looked_into_messages", 1234);
            }
            report.add(section);
        }
        report.compare("times_the_floor", 1.1);
        report
    }

    #[test]
    fn the_table_has_a_row_for_each_figure_and_a_column_for_each_thing() {
        let table = report().to_string();
        let lines: Vec<_> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines[0], "store floor before server");
        assert_eq!(lines[1], "server cpu micros per message 5.00 5.50");
        assert_eq!(lines[2], "answer p50 micros 70 70");
        assert_eq!(lines[7], "looked into messages 1234");
        assert_eq!(lines[8], "times the floor: 1.100");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let table = report().to_string();
        let lengths: Vec<_> = table.lines().take(8).map(str::len).collect();
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{table}");
    }

    #[test]
    fn the_json_has_the_same_figures() {
        let mut report = report();
        report.faults.note(Fault::OutOfOrder, || "the third".to_owned());
        let expected = json!({
            "scenario": "store",
            "measured": {
                "floor before": {
                    "server_cpu_micros_per_message": 5.0,
                    "answer_p50_micros": 70, "answer_p90_micros": 70, "answer_p99_micros": 70,
                    "answer_p999_micros": 70, "answer_max_micros": 70,
                },
                "server": {
                    "server_cpu_micros_per_message": 5.5,
                    "answer_p50_micros": 70, "answer_p90_micros": 70, "answer_p99_micros": 70,
                    "answer_p999_micros": 70, "answer_max_micros": 70,
                    "looked_into_messages": 1234,
                },
            },
            "ratios": { "times_the_floor": 1.1 },
            "faults": {
                "refused": 0, "broken": 0, "lost": 0, "duplicated": 0,
                "out_of_order": 1, "late": 0, "corrupt": 0, "slow": 0,
            },
            "first_fault": "the third",
        });
        assert_eq!(serde_json::to_value(report).expect("JSON"), expected);
    }
}
