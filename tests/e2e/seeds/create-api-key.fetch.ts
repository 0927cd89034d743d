interface ApiResponse {
// shape your response here
}
const response: Response = await fetch('https://api.example.com/v0/api_keys', {
method: 'POST',
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer YOUR_TOKEN'
},
body: JSON.stringify({})
});
const data = (await response.json()) as ApiResponse;
console.log(data);
