//! One streamed chat with async-openai, for stream-errors.test.mjs: prints `complete`, or `error: ` and what the client
//! returns. Arguments: base URL, key, model, prompt.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::CreateChatCompletionRequest;
use futures::StreamExt;
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [base_url, key, model, prompt] =
        <[String; 4]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
            .map_err(|_| "four arguments: base URL, key, model, prompt")?;
    let request: CreateChatCompletionRequest = serde_json::from_value(json!({
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": true,
    }))?;
    let client = Client::with_config(OpenAIConfig::new().with_api_base(base_url).with_api_key(key));
    let mut stream = client.chat().create_stream(request).await?;
    while let Some(event) = stream.next().await {
        if let Err(error) = event {
            println!("error: {error}");
            return Ok(());
        }
    }
    println!("complete");
    Ok(())
}
