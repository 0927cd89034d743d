const token = document.getElementById("token");
const take = () => {
  const found = location.hash.slice(1);
  if (found) token.value = found;
  document.getElementById("link").hidden = Boolean(found);
};
take();
// Another link that is opened in the same window changes the fragment only.
addEventListener("hashchange", take);
