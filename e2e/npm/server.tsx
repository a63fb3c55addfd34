import { renderToString } from 'react-dom/server';
import { Messages } from './messages';

console.log(renderToString(<Messages />));
