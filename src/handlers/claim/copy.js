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
// Loading this page again asks for it as a link does, instead of offering to post again.
history.replaceState(null, "", `${location.pathname}?shown`);
