curl -X POST https://your-gateway.workers.dev/access/request-key \
  -H "Content-Type: application/json" \
  -d '{
    "email": "user@example.com",
    "use_case": "Building a customer support chatbot for an e-commerce store."
  }'
