const response = await fetch('https://your-gateway.workers.dev/access/request-key', {
  method: 'POST',
  headers: {
    'Content-Type': 'application/json',
  },
  body: JSON.stringify({
    email: 'user@example.com',
    use_case: 'Building a customer support chatbot for an e-commerce store.',
  }),
});

if (response.status === 202) {
  const data = await response.json();
  console.log(`Request submitted. ID: ${data.request_id}`);
  console.log(data.message);
} else {
  const error = await response.json();
  console.error(`Submission failed: ${error.error.message}`);
}
