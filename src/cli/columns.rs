//! Tables for people: columns as wide as what stands in them.

/// Two blanks between columns.
const GAP: &str = "  ";

/// Lines of columns, the first `left` of them aligned to the left, the others to the right.
pub(super) fn columns(rows: &[Vec<String>], left: usize) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            let gap = if n == 0 { "" } else { GAP };
            match n < left {
                true => line.extend([gap, cell, &padding]),
                false => line.extend([gap, &padding, cell]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let rows = [
            vec!["type".to_owned(), "keys".to_owned(), "bytes".to_owned()],
            vec!["zset".to_owned(), "1,000".to_owned(), "7".to_owned()],
            vec!["s".to_owned(), String::new(), "12".to_owned()],
        ];
        let expected = "type   keys  bytes\nzset  1,000      7\ns               12\n";
        assert_eq!(columns(&rows, 1), expected);
        assert_eq!(columns(&[], 1), "");
    }
}
