// Starts `rulec lsp` for files of rules, and ends it with the window.
"use strict";

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = async function activate() {
  const settings = vscode.workspace.getConfiguration("sluice");
  const server = { command: settings.get("rulec"), args: ["lsp"] };
  client = new LanguageClient("sluice", "Sluice rules", server, {
    documentSelector: [{ language: "sluice" }],
    initializationOptions: { deployed: settings.get("deployed") },
  });
  try {
    await client.start();
  } catch (error) {
    vscode.window.showErrorMessage(
      `rulec can't be started (${error.message}). Install it, or say where it is: sluice.rulec.`,
    );
  }
};

exports.deactivate = () => client?.stop();
