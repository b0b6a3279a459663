//! Ratios as horizontal bars, in SVG: on a logarithmic scale, so that twice as good and half as good are equally far from 1.

use std::fmt::Write as _;

/// Height of one bar with the room around it.
const ROW: f64 = 22.0;
/// Room for names.
const NAMES: f64 = 400.0;
/// Room for bars.
const BARS: f64 = 420.0;
/// Room above and below.
const MARGIN: f64 = 40.0;
/// What ends the scale on the left.
const LEAST: f64 = 0.5;

/// One bar for each name.
pub(crate) fn bars(title: &str, rows: &[(String, f64)]) -> String {
    let most = rows.iter().map(|(_, ratio)| *ratio).fold(4.0, f64::max) * 1.05;
    let at = |ratio: f64| NAMES + BARS * (ratio.max(LEAST) / LEAST).ln() / (most / LEAST).ln();
    let height = rows.len() as f64 * ROW + 2.0 * MARGIN;
    let mut out = String::new();
    let width = NAMES + BARS + 80.0;
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    line(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">"##
    ));
    line(format!(r##"<rect width="{width}" height="{height}" fill="#fff"/>"##));
    line(format!(r##"<text x="8" y="18" font-size="14">{}, times better</text>"##, escaped(title)));
    for mark in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].into_iter().filter(|mark| *mark <= most) {
        let (x, colour) = (at(mark), if mark == 1.0 { "#333" } else { "#ddd" });
        let bottom = height - MARGIN;
        line(format!(r##"<path d="M{x:.1} {MARGIN}V{bottom:.1}" stroke="{colour}"/>"##));
        line(format!(r##"<text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#666">{mark}</text>"##, bottom + 16.0));
    }
    for (number, (name, ratio)) in rows.iter().enumerate() {
        let y = MARGIN + number as f64 * ROW;
        let (from, to) = (at(ratio.min(1.0)), at(ratio.max(1.0)));
        let (colour, text) = (if *ratio < 1.0 { "#c44" } else { "#2a7" }, y + ROW * 0.65);
        line(format!(r##"<text x="{:.1}" y="{text:.1}" text-anchor="end">{}</text>"##, NAMES - 8.0, escaped(name)));
        line(format!(
            r##"<rect x="{from:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{colour}"/>"##,
            y + 3.0,
            (to - from).max(1.0),
            ROW - 6.0
        ));
        line(format!(r##"<text x="{:.1}" y="{text:.1}">{ratio:.2}</text>"##, to + 6.0));
    }
    line("</svg>".to_owned());
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
