// Drives ssh2-sftp-client (what VS Code's SFTP extensions and deploy actions use): port user key known_hosts local back.
// Prints one line for each step that it has seen to be right.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const SftpClient = require('ssh2-sftp-client');

const [port, username, key, knownHosts, local, back] = process.argv.slice(2);
const hostKey = fs.readFileSync(knownHosts, 'utf8').split(' ')[2].trim();
const hash = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

async function main() {
  const sftp = new SftpClient('drive');
  await sftp.connect({
    host: '127.0.0.1',
    port: Number(port),
    username,
    privateKey: fs.readFileSync(key),
    hostVerifier: (offered) => offered.toString('base64') === hostKey,
  });
  assert.strictEqual(await sftp.realPath('.'), '/');
  assert.strictEqual(await sftp.cwd(), '/');
  await sftp.uploadDir(local, '/tree');
  console.log('uploadDir');
  await sftp.downloadDir('/tree', back);
  console.log('downloadDir');

  const big = path.join(local, 'big');
  const bytes = fs.readFileSync(big);
  await sftp.fastPut(big, '/fast', { concurrency: 64, chunkSize: 32768 });
  await sftp.fastGet('/fast', path.join(path.dirname(back), 'fast'), { concurrency: 64, chunkSize: 32768 });
  assert.strictEqual(hash(fs.readFileSync(path.join(path.dirname(back), 'fast'))), hash(bytes));
  console.log('fastPut and fastGet, 64 chunks at once');

  await sftp.put(bytes, '/buffer', { writeStreamOptions: { mode: 0o640 } });
  // Before append, for which ssh2 sets the mode to 0666 whatever it was.
  assert.strictEqual((await sftp.stat('/buffer')).mode & 0o777, 0o640);
  await sftp.append(Buffer.from('more'), '/buffer');
  assert.strictEqual(hash(await sftp.get('/buffer')), hash(Buffer.concat([bytes, Buffer.from('more')])));
  console.log('put of a buffer with a mode, append, get');

  assert.strictEqual(await sftp.exists('/tree'), 'd');
  assert.strictEqual(await sftp.exists('/fast'), '-');
  assert.strictEqual(await sftp.exists('/nothing'), false);
  const listed = await sftp.list('/tree');
  assert.ok(listed.some((entry) => entry.name === 'run.sh' && entry.size === 10));
  await sftp.posixRename('/buffer', '/fast');
  await assert.rejects(sftp.rename('/fast', '/tree/big'), /ailure|already/);
  await sftp.rcopy('/fast', '/copied');
  await sftp.chmod('/fast', 0o600);
  await sftp.mkdir('/a/b/c', true);
  await assert.rejects(sftp.get('/nothing'), /no such file/i);
  console.log('exists, list, posixRename, rename onto a file refused, rcopy, chmod, mkdir -p');

  await Promise.all(Array.from({ length: 40 }, (_, n) => sftp.put(Buffer.from(`file ${n}`), `/a/b/c/${n}`)));
  assert.strictEqual((await sftp.list('/a/b/c')).length, 40);
  await sftp.rmdir('/a', true);
  await sftp.delete('/fast');
  await sftp.delete('/copied');
  assert.strictEqual(await sftp.exists('/a'), false);
  console.log('40 puts at once, rmdir of a tree, delete');
  await sftp.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
