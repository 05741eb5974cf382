// A certificate made on the spot, so that no test depends on a tool or on a file that expires. DER by hand (X.690, RFC
// 5280): version 3, ECDSA P-256 with SHA-256, names `localhost` and 127.0.0.1.
import { generateKeyPairSync, sign } from "node:crypto";

export interface SelfSigned {
  /** PEM; trusted where it is given as `ca`. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const value = Buffer.concat(parts);
  const { length } = value;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), value]);
}

const sequence = (...parts: readonly Buffer[]): Buffer => tlv(0x30, ...parts);
const hex = (text: string): Buffer => Buffer.from(text, "hex");
const ascii = (tag: number, text: string): Buffer => tlv(tag, Buffer.from(text, "latin1"));

/** ecdsa-with-SHA256. */
const algorithm = sequence(tlv(0x06, hex("2a8648ce3d040302")));

/** @param commonName tells certificates apart */
export function selfSigned(commonName = "localhost"): SelfSigned {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = sequence(tlv(0x31, sequence(tlv(0x06, hex("550403")), ascii(0x0c, commonName))));
  const validity = sequence(ascii(0x17, "240101000000Z"), ascii(0x17, "491231235959Z"));
  const alternatives = sequence(ascii(0x82, "localhost"), tlv(0x87, Buffer.from([127, 0, 0, 1])));
  const extensions = tlv(0xa3, sequence(sequence(tlv(0x06, hex("551d11")), tlv(0x04, alternatives))));
  const version = tlv(0xa0, tlv(0x02, Buffer.from([2])));
  const serial = tlv(0x02, Buffer.from([1]));
  const body = sequence(
    version,
    serial,
    algorithm,
    name,
    validity,
    name,
    publicKey.export({ type: "spki", format: "der" }),
    extensions,
  );
  const signature = tlv(0x03, Buffer.from([0]), sign("sha256", body, privateKey));
  const der = sequence(body, algorithm, signature);
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}
