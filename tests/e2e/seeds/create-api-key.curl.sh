curl -X POST 'https://api.example.com/v0/api_keys' \
-H 'Authorization: Bearer YOUR_TOKEN' \
-H 'Content-Type: application/json' \
-d '{}'
