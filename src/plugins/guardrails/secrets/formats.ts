/** Keys that are known by how they begin. Their words end where no letter, digit, `_` or `-` follows. */
export const KEY_FORMATS: readonly {
  readonly category: string;
  readonly pattern: string;
  readonly maxLength?: number;
}[] = [
  { category: "aws-access-key", pattern: "(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}" },
  { category: "github-token", pattern: "gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_\\w{22,244}" },
  { category: "gitlab-token", pattern: "gl(?:pat|dt|rt|ptt|oas|ft)-[\\w-]{20,64}" },
  { category: "slack-token", pattern: "xox[abeoprs]-[A-Za-z0-9-]{10,250}|xapp-\\d-[A-Za-z0-9-]{10,250}" },
  { category: "slack-webhook", pattern: "hooks\\.slack\\.com/(?:services|workflows)/[A-Za-z0-9/]{20,200}" },
  { category: "stripe-key", pattern: "[sr]k_(?:live|test)_[A-Za-z0-9]{10,240}|whsec_[A-Za-z0-9+/=]{32,100}" },
  { category: "anthropic-key", pattern: "sk-ant-[\\w-]{20,240}" },
  { category: "openai-key", pattern: "sk-(?:proj|svcacct|admin|None)-[\\w-]{20,240}|sk-[A-Za-z0-9]{32,200}" },
  { category: "openrouter-key", pattern: "sk-or-v1-[0-9a-f]{32,128}" },
  { category: "google-key", pattern: "AIza[\\w-]{35}|GOCSPX-[\\w-]{28}" },
  { category: "google-token", pattern: "ya29\\.[\\w-]{20,1000}", maxLength: 1_024 },
  { category: "groq-key", pattern: "gsk_[A-Za-z0-9]{40,64}" },
  { category: "xai-key", pattern: "xai-[A-Za-z0-9]{60,100}" },
  { category: "huggingface-token", pattern: "hf_[A-Za-z0-9]{34,40}" },
  { category: "replicate-token", pattern: "r8_[A-Za-z0-9]{37,40}" },
  { category: "databricks-token", pattern: "dapi[0-9a-f]{32}(?:-\\d)?" },
  { category: "npm-token", pattern: "npm_[A-Za-z0-9]{36}" },
  { category: "pypi-token", pattern: "pypi-AgE[\\w-]{50,500}", maxLength: 512 },
  { category: "sendgrid-key", pattern: "SG\\.[\\w-]{22}\\.[\\w-]{43}" },
  { category: "twilio-key", pattern: "(?:SK|AC)[0-9a-f]{32}" },
  { category: "digitalocean-token", pattern: "do[opr]_v1_[0-9a-f]{64}" },
  { category: "telegram-token", pattern: "\\d{8,10}:AA[\\w-]{33}" },
  { category: "azure-key", pattern: "(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,88}={0,2}" },
  { category: "jwt", pattern: "eyJ[\\w-]{8,}\\.eyJ[\\w-]{8,}\\.[\\w-]{8,}", maxLength: 4_096 },
  { category: "url-password", pattern: "[A-Za-z][A-Za-z0-9+]{1,15}://[^\\s:/@]{1,100}:[^\\s:/@]{3,100}@" },
];

const BEGIN = "-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----";
/** Line ends, which may be written as escapes. */
const LINE_END = "(?:\\s|\\\\n|\\\\r)";

/** A whole block; or its begin and the lines of base64 after it, where the end has been left out. */
export const PRIVATE_KEY = `${BEGIN}(?:(?:[^-]|-[^-])*-----END [A-Z0-9 ]{1,40}-----|(?:${LINE_END}*[A-Za-z0-9+/=]{16,})*)`;
/** RSA keys of 16,384 bits take 12,700 characters. */
export const MAX_PRIVATE_KEY_LENGTH = 16_384;
