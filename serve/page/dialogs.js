// What the page asks the person in between: the token, and whether something is really to go.

import { keepToken, token } from "./api.js";
import { byId } from "./dom.js";

/** Open a dialog; resolves to the value of the button that closed it, "cancel" after Escape. */
function answered(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "cancel";
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    dialog.showModal();
  });
}

let asking = null; // several requests may fail at once; the person is asked once

/** Ask for a token; true where one was given. */
export function askForToken(reason) {
  asking ??= (async () => {
    byId("token-reason").textContent = reason;
    byId("token").value = token();
    const used = (await answered(byId("token-dialog"))) === "use";
    asking = null;
    if (used) keepToken(byId("token").value.trim());
    byId("token").value = "";
    return used && token() !== "";
  })();
  return asking;
}

/** True where the person confirms that a campaign is to be deleted. */
export async function confirmDeletion(name) {
  byId("delete-name").textContent = name;
  return (await answered(byId("delete-dialog"))) === "delete";
}
