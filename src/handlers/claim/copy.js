const copy = document.getElementById("copy");
const key = document.getElementById("key");
if (navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(key.textContent);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Select the key and copy it yourself";
    }
  });
}
// Reloading this page then requests it with GET, instead of posting again.
history.replaceState(null, "", `${location.pathname}?shown`);
