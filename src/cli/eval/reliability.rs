//! A reliability diagram as SVG: of each attribute how often answers of a confidence were right, beside how often they should have been.

use std::fmt::Write as _;

use attributes::report::{Answer, BINS, bins, quality};

/// Panels side by side.
const COLUMNS: usize = 4;
/// A panel and its plot, in pixels.
const PANEL_WIDTH: f64 = 270.0;
const PANEL_HEIGHT: f64 = 300.0;
const SIDE: f64 = 190.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 56.0;

/// One attribute.
pub(super) struct Panel {
    /// Its name.
    pub(super) title: String,
    /// From here on a tag is a fact.
    pub(super) threshold: f32,
    /// What was answered.
    pub(super) answers: Vec<Answer>,
}

/// The diagram of all panels.
pub(super) fn diagram(panels: &[Panel]) -> String {
    let (columns, rows) = (panels.len().clamp(1, COLUMNS), panels.len().div_ceil(COLUMNS).max(1));
    let (width, height) = (columns as f64 * PANEL_WIDTH, rows as f64 * PANEL_HEIGHT + 30.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#222\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (place, panel) in panels.iter().enumerate() {
        let (x, y) = ((place % COLUMNS) as f64 * PANEL_WIDTH, (place / COLUMNS) as f64 * PANEL_HEIGHT);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw(&mut svg, panel);
        svg.push_str("</g>\n");
    }
    let _ = write!(
        svg,
        "<text x=\"12\" y=\"{}\">Bars: share of right answers by confidence; dashes: as it should be; grey: share of answers; red line: facts \
         from here on.</text>\n</svg>\n",
        height - 12.0
    );
    svg
}

fn draw(svg: &mut String, panel: &Panel) {
    let found = quality(&panel.answers, panel.threshold);
    let (x, y) = (|share: f64| LEFT + SIDE * share, |share: f64| TOP + SIDE * (1.0 - share));
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{}</text>", escaped(&panel.title));
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"35\">accuracy {:.3}, calibration error {:.3}</text><text x=\"{LEFT}\" y=\"48\">{:.0} % facts, {:.3} of them right</text>",
        found.accuracy,
        found.calibration_error,
        100.0 * found.coverage,
        found.precision
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let _ = writeln!(
            svg,
            "<path d=\"M{} {}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{share}</text><text x=\"{}\" y=\"{}\" \
             text-anchor=\"middle\">{share}</text>",
            x(0.0),
            y(share),
            x(1.0),
            LEFT - 5.0,
            y(share) + 4.0,
            x(share),
            TOP + SIDE + 15.0
        );
    }
    let step = 1.0 / BINS as f64;
    for (place, bin) in bins(&panel.answers).iter().enumerate().filter(|(_, bin)| bin.answers > 0) {
        let part = bin.answers as f64 / panel.answers.len() as f64;
        let left = place as f64 * step;
        let mut bar = |share: f64, inset: f64, paint: &str| {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" {paint}><title>{} answers, {:.3} right, confidence {:.3}</title></rect>",
                x(left) + inset,
                y(share),
                SIDE * step - 2.0 * inset,
                SIDE * share,
                bin.answers,
                bin.accuracy,
                bin.confidence
            );
        };
        bar(bin.accuracy, 1.0, "fill=\"#4878a8\" fill-opacity=\"0.8\"");
        bar(part, 6.0, "fill=\"#999\" fill-opacity=\"0.8\"");
        let (centre, half) = (x(bin.confidence), 4.0);
        let _ = writeln!(svg, "<circle cx=\"{centre:.1}\" cy=\"{:.1}\" r=\"{half}\" fill=\"#12304e\"/>", y(bin.accuracy));
    }
    let _ =
        writeln!(svg, "<path d=\"M{} {}L{} {}\" stroke=\"#444\" stroke-dasharray=\"5 4\" fill=\"none\"/>", x(0.0), y(0.0), x(1.0), y(1.0));
    if panel.threshold <= 1.0 {
        let at = x(f64::from(panel.threshold));
        let _ = writeln!(svg, "<path d=\"M{at:.1} {}V{}\" stroke=\"#c03030\" stroke-width=\"1.5\"/>", y(1.0), y(0.0));
    }
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">confidence</text>", x(0.5), TOP + SIDE + 30.0);
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attribute_has_a_panel_with_its_bars() {
        let answers: Vec<Answer> = (0..100).map(|at| Answer { confidence: at as f32 / 100.0, is_right: at % 2 == 0 }).collect();
        let panel = |title: &str, threshold| Panel { title: title.to_owned(), threshold, answers: answers.clone() };
        let svg = diagram(&[panel("colour", 0.9), panel("a < b", 1.01)]);
        assert_eq!((svg.matches("<circle").count(), svg.matches("<g ").count(), svg.matches("#c03030").count()), (2 * BINS, 2, 1));
        assert!(svg.contains("a &lt; b") && svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(diagram(&[]).ends_with("</svg>\n"));
    }
}
