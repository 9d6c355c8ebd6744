//! What stands between the cells of a report.

/// What may separate the cells of a line: as Stripe writes reports, as spreadsheets of countries with decimal commas save them, and as tables
/// are copied.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// The separator of a table whose first line this is: the one of comma, semicolon and tab that stands most often outside of quotes.
#[must_use]
pub fn cell_separator(header: &[u8]) -> u8 {
    let mut counts = SEPARATORS.map(|separator| (separator, 0_usize));
    let mut quoted = false;
    for byte in header {
        quoted ^= *byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(separator, _)| separator == byte && !quoted) {
            *count += 1;
        }
    }
    // Of equals the first: a header without any is one column, whatever would separate others.
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map_or(b',', |(separator, _)| separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_what_separates_its_cells() {
        for (header, separator) in [
            ("id,amount,currency", b','),
            ("id;amount;currency", b';'),
            ("id\tamount\tcurrency", b'\t'),
            ("\"metadata[a,b,c]\";amount;currency", b';'),
            ("id;\"metadata[a\tb\tc\td]\";amount", b';'),
            ("amount", b','),
            ("", b','),
        ] {
            assert_eq!(cell_separator(header.as_bytes()), separator, "{header}");
        }
    }
}
