//! Prints one score per row of a CSV file: `cargo run --example score -- FILE`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: score FILE")?;
    let points = taskwarden_anomaly_score::read_csv(std::io::BufReader::new(std::fs::File::open(file)?))?;
    let (scored, _) = taskwarden_anomaly_score::score(&points, &taskwarden_anomaly_score::Options::default());
    for point in scored {
        println!("{:.9}", point.score);
    }
    Ok(())
}
