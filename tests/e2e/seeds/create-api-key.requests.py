import requests
url = "https://api.example.com/v0/api_keys"
headers = {
"Content-Type": "application/json",
"Authorization": "Bearer YOUR_TOKEN"
}
payload = {}
response = requests.request("post", url, headers=headers, json=payload)
print(response.json())
