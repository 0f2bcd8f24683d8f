// SPDX-License-Identifier: Apache-2.0
// The npm `openai` client, unmodified but for base URL and key: `node openai.mjs SCENARIO`, with BASE_URL and KEY in the environment.
// Prints what the client saw as one line of JSON.
import OpenAI, { APIError } from 'openai';

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.KEY, maxRetries: 0, timeout: 20000 });
const messages = [{ role: 'user', content: 'hello' }];

async function failure(call) {
	try {
		await call;
	} catch (e) {
		if (!(e instanceof APIError))
			throw e;
		return { name: e.constructor.name, status: e.status, code: e.code, type: e.type, message: e.message,
			 requestID: e.requestID, retryAfter: e.headers?.get('retry-after') };
	}
	return { name: 'none' };
}

const chat = (model, more) => client.chat.completions.create({ model, messages, ...more });

async function abortAfter(n, model) {
	const stream = await chat(model, { stream: true });
	let pieces = 0;
	for await (const _ of stream)
		if (++pieces === n)
			stream.controller.abort();
	return { pieces };
}

const scenarios = {
	async chat() {
		const { data, request_id } = await chat('gpt-x').withResponse();
		return { content: data.choices[0].message.content, usage: data.usage, id: request_id };
	},
	async stream() {
		let content = '', finish = null, usage = null, pieces = 0;
		for await (const piece of await chat('gpt-x', { stream: true, stream_options: { include_usage: true } })) {
			content += piece.choices[0]?.delta?.content ?? '';
			finish = piece.choices[0]?.finish_reason ?? finish;
			usage = piece.usage ?? usage;
			pieces++;
		}
		return { content, finish, usage, pieces };
	},
	async helper() {
		const runner = client.chat.completions.stream({ model: 'gpt-x', messages });
		return { content: await runner.finalContent() };
	},
	abort: () => abortAfter(3, 'test:slow:50:2000'),
	abortInSilence: () => abortAfter(3, 'test:stall'),
	async models() {
		const names = [];
		for await (const model of client.models.list())
			names.push(model.id);
		return { names };
	},
	async truncated() {
		let content = '';
		try {
			for await (const piece of await chat('test:reset:3', { stream: true }))
				content += piece.choices[0]?.delta?.content ?? '';
		} catch (e) {
			return { content, error: e.constructor.name };
		}
		return { content, error: null };
	},
	unauthorized: () => failure(client.withOptions({ apiKey: 'bh_sk_wrong' }).models.list()),
	notFound: () => failure(client.post('/nothing', { body: {} })),
	modelNotFound: () => failure(chat('not-for-this-key')),
	badRequest: () => failure(client.chat.completions.create({ messages })),
	tooLarge: () => failure(client.chat.completions.create({ model: 'gpt-x', messages: [{ role: 'user', content: 'x'.repeat(10 << 20) }] })),
	async limited() {
		for (let i = 0; i < 2; i++)
			await chat('gpt-x');
		return failure(chat('gpt-x'));
	},
	// An answer as it came, and the receipt of it, which is there when its checkpoint is signed.
	async receipt() {
		const answer = await client.chat.completions.create({ model: 'gpt-x', messages, stream: true }).asResponse();
		const body = await answer.text();
		const patient = client.withOptions({ maxRetries: 10 });
		return { body, text: await patient.get(`/receipts/${answer.headers.get('x-request-id')}`) };
	},
	async retried() {
		// With retries left the client waits as long as it was told to, and no longer.
		const began = Date.now();
		await failure(client.withOptions({ maxRetries: 1 }).chat.completions.create({ model: 'test:limited:1', messages }));
		return { ms: Date.now() - began };
	},
};

console.log(JSON.stringify(await scenarios[process.argv[2]]()));
